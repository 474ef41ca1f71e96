"""Copies of blocks of the cache: what goes on behind a copied beginning is, bit for bit, what computing it gives."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from fixtures.executors import BACKENDS, open_executor
from fixtures.steps import PagedSequences
from fixtures.tiny_folder import write_tiny_folder
from inglenook.errors import EngineError
from inglenook.ops.executor import BlockCopy, CacheDType, CacheSpec

NUM_BLOCKS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_folder(tmp_path_factory.mktemp("copy") / "tiny")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("block_size", [16, 32])
@pytest.mark.parametrize("dtype", get_args(CacheDType))
def test_going_on_behind_a_copied_beginning(folder: Path, backend: str, block_size: int, dtype: CacheDType) -> None:
    cache = CacheSpec(NUM_BLOCKS, block_size, dtype)
    executor, other = (open_executor(folder, backend, cache=cache) for _ in range(2))
    copied, plain = (PagedSequences(cache, 5, 2 * block_size, seed=seed) for seed in range(2))
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, block_size + 9).tolist()
    executor.run(copied.step([(0, first)]))
    for sequence, count in enumerate([1, 4, 7, 8], 1):
        pairs = zip(*copied.block_tables[[0, sequence]].tolist(), strict=True)
        executor.copy_blocks([BlockCopy(*pair) for pair in pairs])
        copied.lengths[sequence] = block_size + count
        tail = rng.integers(0, 256, 5).tolist()
        logits = executor.run(copied.step([(sequence, tail)]))
        expected = other.run(plain.step([(sequence, [*first[: block_size + count], *tail])]))[-5:]
        if backend == "torch":
            np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
        else:
            assert (logits == expected).all()
    executor.close()
    other.close()


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "torch"])
def test_blocks_that_are_not_there_are_refused(folder: Path, backend: str) -> None:
    executor = open_executor(folder, backend)
    executor.copy_blocks([])
    executor.copy_blocks([BlockCopy(0, 23), BlockCopy(5, 5)])
    for copy in [(0, 24), (24, 0), (-1, 0), (0, -1)]:
        with pytest.raises(EngineError, match="no such block"):
            executor.copy_blocks([BlockCopy(*copy)])
    executor.close()
    with pytest.raises(EngineError, match="closed"):
        executor.copy_blocks([BlockCopy(0, 1)])
