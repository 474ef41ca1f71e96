"""The limits of this machine, measured: what the benchmark compares the engine with."""

from __future__ import annotations

from dataclasses import dataclass

from inglenook.ops import _native

READ_BYTES = 2**30  # far more than caches hold


@dataclass(frozen=True)
class Limits:
    """Of all `threads` together. Two operations for each multiply-add; GB, GOP and GFLOP are 1e9.

    bf16_gflop_s is that of float32 where the instruction set has no bf16 dot product.
    """

    read_gb_s: float
    int8_gop_s: float
    bf16_gflop_s: float


def measure_limits(threads: int, *, isa: str | None = None, seconds: float = 0.7) -> Limits:
    """Run the three probes, each for about `seconds`; takes 1 GiB of memory meanwhile."""
    isa = isa or _native.available_isas()[-1]
    return Limits(
        read_gb_s=_native.probe_read(threads, READ_BYTES, seconds),
        int8_gop_s=_native.probe_int8(threads, isa, seconds),
        bf16_gflop_s=_native.probe_bf16(threads, isa, seconds),
    )
