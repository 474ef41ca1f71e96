"""Embeddings of all-MiniLM-L6-v2 by us and by torch (transformers), in one process and in turns.

    python benchmarks/compare_embeddings.py [--rounds 5] [--threads 2]

Texts are random tokens of one length, so that torch has nothing to pad. Prints medians in texts per second, and our
ratio to torch; the smallest cosine between both says that they compute the same.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModel

from inglenook.config import DType, EngineSettings, ModelSettings, num_usable_cores
from inglenook.engine.load_pooling import LoadedPoolingEngine, load_pooling_engine
from inglenook.engine.pooling import PoolingInput
from inglenook.settings import home_folder
from inglenook.store.store import ModelStore

MODEL = "all-minilm:l6-v2"
LENGTHS = {16: 256, 64: 64, 256: 24}  # tokens of a text -> texts
BATCH_TOKENS = (512, 2048)  # of torch's batches; the faster one counts
DTYPES: tuple[DType, ...] = ("float32", "bfloat16")

Rows = npt.NDArray[np.float32]
Encode = Callable[[npt.NDArray[np.int64]], Rows]  # [texts, tokens] -> [texts, width]


def encode_with(loaded: LoadedPoolingEngine) -> Encode:
    return lambda ids: np.array(loaded.engine.encode_blocking([PoolingInput(tuple(row)) for row in ids.tolist()]))


def encode_in_torch(path: Path, batch_tokens: int, dtype: torch.dtype = torch.float32) -> Encode:
    model = AutoModel.from_pretrained(path, dtype=dtype).eval()

    def encode(ids: npt.NDArray[np.int64]) -> Rows:
        batches = torch.from_numpy(ids).split(max(1, batch_tokens // ids.shape[1]))
        with torch.inference_mode():
            rows = [model(batch, attention_mask=torch.ones_like(batch)).last_hidden_state.mean(1) for batch in batches]
        result: Rows = torch.cat(rows).float().numpy()
        return result

    return encode


def smallest_cosine(a: Rows, b: Rows) -> float:
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=num_usable_cores())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    path = ModelStore(home_folder()).resolve(MODEL).path
    assert path is not None
    engine = EngineSettings(threads=arguments.threads)
    ours = {dtype: load_pooling_engine(path, ModelSettings(model=MODEL, dtype=dtype), engine) for dtype in DTYPES}
    encoders = {f"inglenook {dtype}": encode_with(loaded) for dtype, loaded in ours.items()}
    encoders |= {f"torch float32, {size}": encode_in_torch(path, size) for size in BATCH_TOKENS}
    encoders["torch bfloat16, 2048"] = encode_in_torch(path, 2048, torch.bfloat16)
    for length, count in LENGTHS.items():
        ids = np.random.default_rng(length).integers(1000, 30000, (count, length))
        rows = {name: encode(ids) for name, encode in encoders.items()}  # warms up, too
        seconds: dict[str, list[float]] = {name: [] for name in encoders}
        for _ in range(arguments.rounds):
            for name, encode in encoders.items():
                begin = time.perf_counter()
                encode(ids)
                seconds[name].append(time.perf_counter() - begin)
        rates = {name: count / statistics.median(values) for name, values in seconds.items()}
        best = max(rate for name, rate in rates.items() if name.startswith("torch float32"))
        for name, rate in rates.items():
            cosine = smallest_cosine(rows[name], rows[f"torch float32, {BATCH_TOKENS[0]}"])
            print(
                f"{length:4} tokens  {name:22}{rate:9.1f} texts/s {rate / best:6.2f}x  cosine {cosine:.7f}", flush=True
            )
    for loaded in ours.values():
        loaded.engine.stop()


if __name__ == "__main__":
    main()
