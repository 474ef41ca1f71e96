"""What the engine is to reach, by model and instruction set: also what `inglenook bench` runs without arguments."""

from __future__ import annotations

from collections.abc import Mapping

from inglenook.bench.rows import Target
from inglenook.config import DEFAULT_MODEL, Isa

_NEIGHBOUR = {
    f"{work}-{how}": Target(share)
    for work in ("prefill-512", "decode-1", "decode-8", "decode-32")
    for how, share in (("neighbour", 0.40), ("16-threads", 0.60))
}

TARGETS: Mapping[tuple[str, Isa], Mapping[str, Target]] = {
    (DEFAULT_MODEL, "avx512"): {
        "prefill-512": Target(0.60),
        "decode-1": Target(0.60),
        "decode-8": Target(0.40),
        "decode-32": Target(0.50),
        "python-share-32": Target(0.05, is_upper=True),
        "prefix-reuse": Target(0.05, is_upper=True),
        "start": Target(1.0, is_upper=True),
        "steady-streams": Target(2.5, is_upper=True),
        "json-schema-16": Target(0.95),
        "json-strings-16": Target(0.95),
        "json-invoice-1": Target(1.0),
        "json-invoice-16": Target(1.0),
        "unused-tools-16": Target(0.97),
        **_NEIGHBOUR,
    },
    ("all-minilm:l6-v2", "avx512"): {"embed-16": Target(0.60), "embed-256": Target(0.60)},
    ("dummy:1b", "avx512"): {
        "prefill-512": Target(0.70),
        "decode-1": Target(0.90),
        "decode-8": Target(0.60),
        "decode-32": Target(0.65),
        "prefix-reuse": Target(0.05, is_upper=True),
        "steady-streams": Target(2.5, is_upper=True),
        **_NEIGHBOUR,
        "speculation-edit": Target(2.0),
        "speculation-extract": Target(2.0),
        "speculation-none": Target(0.98),
        "prefill-8192": Target(0.55),
        "decode-1-at-8192": Target(0.80),
    },
    ("dummy:1b-bf16", "avx512"): {"prefill-512": Target(0.80), "decode-1": Target(0.90)},
    ("dummy:1b-q8_0", "avx512"): {"decode-1": Target(0.90)},
    ("dummy:1b-q6_k", "avx512"): {"decode-1": Target(0.80)},
    ("dummy:1b-q5_k", "avx512"): {"decode-1": Target(0.80)},
    ("dummy:1b", "avx2"): {
        "prefill-512": Target(0.45, of_isa="avx512"),
        "decode-1": Target(0.85),
        "decode-32": Target(0.45, of_isa="avx512"),
    },
}
