"""The memory plan: what it chooses, what it refuses and what it says then; the limits it reads."""

import re
import resource
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from inglenook.config import EngineSettings
from inglenook.engine import memory
from inglenook.engine.memory import AvailableMemory, available_memory
from inglenook.engine.plan import (
    CACHE_SHARE,
    CONTEXT_SHARE,
    MIB,
    MIN_CONTEXT,
    RESERVE_BYTES,
    DraftNeeds,
    MemoryNeeds,
    Plan,
    format_bytes,
    make_plan,
)
from inglenook.errors import ConfigError, OutOfMemoryError

GIB = 2**30
NEEDS = MemoryNeeds(weights=1 * GIB, activations=100 * MIB, kv_per_block=1 * MIB)  # 32 KiB per token


def plan(
    available: int,
    *,
    needs: MemoryNeeds = NEEDS,
    max_model_len: int | None = None,
    model_max_len: int = 8192,
    **settings: int,
) -> Plan:
    memory = AvailableMemory(available, "free on this machine")
    return make_plan(
        EngineSettings(**settings), needs, memory, max_model_len=max_model_len, model_max_len=model_max_len
    )


def test_plenty_of_memory_gives_the_models_context_and_some_sequences() -> None:
    chosen = plan(64 * GIB)
    assert (chosen.max_model_len, chosen.num_cache_tokens) == (8192, 64 * 1024)
    assert plan(64 * GIB, max_num_seqs=1).num_cache_tokens == 8192


def test_less_memory_gives_a_smaller_cache_then_a_shorter_context() -> None:
    room = 1 * GIB
    chosen = plan(NEEDS.weights + NEEDS.activations + RESERVE_BYTES + room)
    assert (chosen.max_model_len, chosen.num_blocks) == (8192, int(room * CACHE_SHARE) // MIB)
    room = 100 * MIB
    chosen = plan(NEEDS.weights + NEEDS.activations + RESERVE_BYTES + room)
    assert (chosen.max_model_len, chosen.num_blocks) == (int(100 * CONTEXT_SHARE) * 32, int(100 * CONTEXT_SHARE))


def test_explicit_context_may_take_all_that_is_left() -> None:
    available = NEEDS.weights + NEEDS.activations + RESERVE_BYTES + 100 * MIB
    chosen = plan(available, max_model_len=3200)
    assert (chosen.max_model_len, chosen.num_blocks, chosen.total) == (3200, 100, available)
    with pytest.raises(
        OutOfMemoryError, match=r"3201 tokens needs 101\.0 MiB .* 1\.0 MiB too few.*--max-model-len 3200"
    ):
        plan(available, max_model_len=3201)


def test_context_beyond_the_models_own_is_refused_with_both_numbers() -> None:
    with pytest.raises(ConfigError, match=r"9000.* 8192") as caught:
        plan(64 * GIB, max_model_len=9000)
    assert caught.value.param == "max_model_len"


def test_given_cache_is_taken_to_the_letter() -> None:
    chosen = plan(64 * GIB, kv_cache_memory_bytes=10 * MIB + 5)
    assert (chosen.num_blocks, chosen.max_model_len) == (10, 320)
    chosen = plan(64 * GIB, kv_cache_memory_bytes=1 * GIB, max_model_len=100)
    assert (chosen.num_blocks, chosen.max_model_len) == (1024, 100)
    with pytest.raises(ConfigError, match="at least"):
        plan(64 * GIB, kv_cache_memory_bytes=1000)
    with pytest.raises(OutOfMemoryError, match="--max-model-len 320"):
        plan(64 * GIB, kv_cache_memory_bytes=10 * MIB, max_model_len=321)
    with pytest.raises(OutOfMemoryError, match="asks for") as refused:
        plan(2 * GIB, kv_cache_memory_bytes=2 * GIB)
    fitting = re.search(r"--kv-cache-memory-bytes (\d+)", refused.value.message)
    assert fitting is not None
    assert plan(2 * GIB, kv_cache_memory_bytes=int(fitting[1])).kv_cache == int(fitting[1])


def test_weights_that_do_not_fit_name_the_format_that_would() -> None:
    needs = MemoryNeeds(8 * GIB, 100 * MIB, 1 * MIB, {"q8": int(4.3 * GIB), "q4": int(2.3 * GIB)})
    with pytest.raises(OutOfMemoryError) as caught:
        plan(3 * GIB, needs=needs)
    message = caught.value.message
    assert "--quantization q4" in message and "q8" not in message and "max-model-len" not in message
    assert "8.00 GiB of weights" in message and "3.00 GiB are free on this machine" in message
    plan(3 * GIB, needs=MemoryNeeds(needs.quantized_weights["q4"], needs.activations, needs.kv_per_block))
    with pytest.raises(OutOfMemoryError, match="smaller model"):
        plan(1 * GIB)


DRAFT = DraftNeeds("small", weights=200 * MIB, activations=10 * MIB, kv_per_block=MIB // 4)


def test_a_draft_model_takes_its_share() -> None:
    needs = replace(NEEDS, draft=DRAFT)
    chosen = plan(64 * GIB, needs=needs)
    assert chosen.kv_cache == chosen.num_blocks * (MIB + MIB // 4)
    assert chosen.total == NEEDS.weights + NEEDS.activations + 210 * MIB + chosen.kv_cache + RESERVE_BYTES
    lines = dict(chosen.describe())
    assert lines["draft model"] == "small"
    assert lines["  draft model"] == (
        "200.0 MiB of weights, 10.0 MiB of working memory; 512.0 MiB of the key-value cache are its"
    )
    assert plan(64 * GIB, needs=needs, kv_cache_memory_bytes=10 * MIB).num_blocks == 8
    assert "draft model" not in dict(plan(64 * GIB).describe())


def test_a_draft_model_that_does_not_fit_is_named() -> None:
    needs = replace(NEEDS, draft=DRAFT)
    available = NEEDS.weights + NEEDS.activations + RESERVE_BYTES + 200 * MIB
    with pytest.raises(OutOfMemoryError) as caught:
        plan(available, needs=needs, max_model_len=4096)
    assert "210.0 MiB of draft model" in caught.value.message
    assert "What would fit: no draft model (--speculative-config ngram)." in caught.value.message
    assert plan(available, max_model_len=4096).total <= available
    with pytest.raises(OutOfMemoryError) as caught:
        plan(available, needs=needs, max_model_len=8192)
    assert "ngram" not in caught.value.message


@given(
    available=st.integers(0, 40 * GIB),
    max_model_len=st.none() | st.integers(1, 8192),
    cache=st.none() | st.integers(1, 8 * GIB),
    max_num_seqs=st.integers(1, 256),
    block_size=st.sampled_from([16, 32]),
)
def test_a_plan_fits_and_holds_a_full_context_or_is_refused(
    available: int, max_model_len: int | None, cache: int | None, max_num_seqs: int, block_size: int
) -> None:
    settings = {"max_num_seqs": max_num_seqs, "block_size": block_size}
    if cache is not None:
        settings["kv_cache_memory_bytes"] = cache
    try:
        chosen = plan(available, max_model_len=max_model_len, **settings)
    except (OutOfMemoryError, ConfigError):
        smallest = NEEDS.weights + NEEDS.activations + RESERVE_BYTES
        if cache is None and max_model_len is None:
            assert available < smallest + MIN_CONTEXT // block_size * MIB / CONTEXT_SHARE + MIB
        return
    assert chosen.total <= available
    assert chosen.num_cache_tokens >= chosen.max_model_len >= 1
    assert chosen.max_model_len == max_model_len or max_model_len is None
    assert cache is None or chosen.kv_cache <= cache < chosen.kv_cache + MIB
    assert sum(part for part in (chosen.weights, chosen.kv_cache, chosen.activations, chosen.reserve)) == chosen.total


def test_description_has_all_numbers() -> None:
    lines = dict(plan(NEEDS.weights + NEEDS.activations + RESERVE_BYTES + 100 * MIB).describe())
    assert lines["context length"] == "2560 tokens of the model's 8192"
    assert lines["  key-value cache"] == "80.0 MiB: 2560 tokens, bf16"
    assert lines["memory"] == "1.30 GiB of 1.32 GiB (free on this machine)"
    assert (format_bytes(3 * GIB), format_bytes(-MIB)) == ("3.00 GiB", "-1.0 MiB")


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


MEMINFO = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n", "proc/self/statm": "100 50 10\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8000 * 1024),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/b/memory.current": "10\n",
                "sys/fs/cgroup/a/memory.max": "5000\n",
                "sys/fs/cgroup/a/memory.current": "3000\n",
                "sys/fs/cgroup/a/memory.stat": "anon 2000\ninactive_file 400\n",
            },
            2400,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "7000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000\n",
                "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 500\n",
            },
            6500,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000\n",
                "sys/fs/cgroup/memory/memory.stat": "",
            },
            8000 * 1024,
        ),
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "1000\n",
                "sys/fs/cgroup/memory.current": "3000\n",
                "sys/fs/cgroup/memory.stat": "",
            },
            0,
        ),
    ],
    ids=["machine", "v2-parent", "v1-in-container", "v1-unlimited", "v2-over-limit"],
)
def test_available_memory_is_the_least_limit(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    write(tmp_path, MEMINFO | files)
    assert available_memory(tmp_path).num_bytes == expected


def test_address_space_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, MEMINFO)
    page = memory.os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (page * 300, page * 300))
    assert available_memory(tmp_path) == AvailableMemory(page * 200, "left of the address space, ulimit -v")


def test_available_memory_of_this_machine() -> None:
    assert available_memory().num_bytes > 64 * MIB
