"""All workloads, in the order in which they run. A new one is a file here and a line in this list; what it should
reach, and on which models it runs by default, stands in bench/targets.py.
"""

from __future__ import annotations

from inglenook.bench.workload import Workload
from inglenook.bench.workloads.decode import decode
from inglenook.bench.workloads.embed import embed
from inglenook.bench.workloads.long_context import LONG_CONTEXT
from inglenook.bench.workloads.neighbour import NEIGHBOUR
from inglenook.bench.workloads.prefill import prefill
from inglenook.bench.workloads.prefix_reuse import PREFIX_REUSE
from inglenook.bench.workloads.python_share import PYTHON_SHARE
from inglenook.bench.workloads.speculation import SPECULATION
from inglenook.bench.workloads.start import START
from inglenook.bench.workloads.steady_streams import STEADY_STREAMS
from inglenook.bench.workloads.structured import STRUCTURED

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        prefill(128),
        prefill(512),
        decode(1),
        decode(2),
        decode(4),
        decode(8),
        decode(16),
        decode(32),
        embed(16),
        embed(256),
        PYTHON_SHARE,
        PREFIX_REUSE,
        START,
        *STRUCTURED,
        *SPECULATION,
        *LONG_CONTEXT,
        STEADY_STREAMS,
        *NEIGHBOUR,
    )
}

STANDARD = ("prefill-512", "decode-1", "decode-8", "decode-32")  # what a model is measured with that has no targets
