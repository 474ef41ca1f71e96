"""Whole models of each architecture: logits of every back end against transformers in float32.

Where nothing is rounded, the largest error is held to a share of the largest logit. Where activations are rounded
(bf16, int8), a value near a tie falls to either side and carries others with it from layer to layer: there the root
mean square error is held to a share of the logits'. Beside each tolerance stands what was measured.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType
from transformers import AutoModelForCausalLM, PreTrainedModel

from fixtures.executors import BACKENDS, CACHE, NATIVE, open_executor
from fixtures.rounded_reference import Rounding, logits_of, round_activations, to_bf16, to_int8_groups
from fixtures.steps import PagedSequences, run_in_chunks
from fixtures.tiny_models import TINY_MODELS, TOKENS, Encodings, save_tiny_gguf, save_tiny_model
from inglenook.checkpoint.checkpoint import open_checkpoint
from inglenook.config import Quantization
from inglenook.ops import _native
from inglenook.ops.executor import CacheDType, CacheSpec, Executor
from inglenook.ops.quantize import pack_matrix
from inglenook.ops.weights import storage_format

FLOAT_TOLERANCE = 2e-5  # up to 8e-6
BF16_TOLERANCE = 6e-3  # up to 3.2e-3; against a reference that doesn't round activations, at least 1e-2
INT8_TOLERANCE = 2e-2  # up to 1.3e-2; against a reference that doesn't round activations, at least 3.7e-2
CACHE_TOLERANCES: dict[CacheDType, float] = {"f16": 1e-3, "bf16": 1e-2, "q8": 2.2e-2}  # up to 7e-4, 7.5e-3, 1.75e-2
ROPE_MODELS = ["llama", "llama-tied"]  # Llama 3's scaling and linear scaling
T = GGMLQuantizationType
MIXED: Encodings = {  # every encoding that there is, in one model
    "": T.Q8_0,
    "q_proj": T.Q4_K,
    "k_proj": T.Q5_K,
    "v_proj": T.Q6_K,
    "gate_proj": T.Q5_0,
    "up_proj": T.Q5_1,
    "down_proj": T.Q4_1,
    "o_proj": T.Q4_0,
    "lm_head": T.Q6_K,
}


def random_tokens(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, len(TOKENS), count).tolist()


PROMPT = random_tokens(100)


def run_plainly(executor: Executor, prompt: list[int] = PROMPT, cache: CacheSpec = CACHE) -> np.ndarray:
    """Logits of all rows of one step that computes the whole prompt."""
    return run_in_chunks(executor, PagedSequences(cache, 1, len(prompt)), [prompt], [[len(prompt)]])[0]


def relative_error(logits: np.ndarray, expected: torch.Tensor) -> float:
    reference = expected.numpy()
    assert logits.shape == reference.shape and np.isfinite(logits).all()
    return float(np.abs(logits - reference).max() / np.abs(reference).max())


def rms_error(logits: np.ndarray, expected: torch.Tensor) -> float:
    reference = expected.numpy()
    assert logits.shape == reference.shape and np.isfinite(logits).all()
    return float(np.sqrt(np.square(logits - reference).mean() / np.square(reference).mean()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    saved: dict[tuple[str, torch.dtype], Path] = {}

    def save(name: str, dtype: torch.dtype = torch.float32) -> Path:
        if (name, dtype) not in saved:
            saved[name, dtype] = save_tiny_model(tmp_path_factory.mktemp(name), name, dtype=dtype)
        return saved[name, dtype]

    return save


def load_reference(folder: Path, rounding: Rounding | None = None) -> PreTrainedModel:
    """The saved weights, widened to float32."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    return round_activations(model, rounding) if rounding else model


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TINY_MODELS)
def test_float32(folder: Callable[..., Path], name: str, backend: str) -> None:
    path = folder(name)
    expected = logits_of(load_reference(path), PROMPT)
    assert relative_error(run_plainly(open_executor(path, backend)), expected) < FLOAT_TOLERANCE


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TINY_MODELS)
def test_float16_weights(folder: Callable[..., Path], name: str, backend: str) -> None:
    """Activations stay float32: nothing is lost beside the weights' own rounding."""
    path = folder(name, torch.float16)
    expected = logits_of(load_reference(path), PROMPT)
    assert relative_error(run_plainly(open_executor(path, backend)), expected) < FLOAT_TOLERANCE


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TINY_MODELS)
def test_bfloat16_weights(folder: Callable[..., Path], name: str, backend: str) -> None:
    """The reference rounds activations too; what is left are values near a tie, which fall to different sides."""
    path = folder(name, torch.bfloat16)
    expected = logits_of(load_reference(path, to_bf16), PROMPT)
    assert rms_error(run_plainly(open_executor(path, backend)), expected) < BF16_TOLERANCE


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ROPE_MODELS)
def test_gguf_float32(tmp_path: Path, name: str, backend: str) -> None:
    """GGUF's order of rows and its frequency divisors give what the folder gives."""
    model = save_tiny_gguf(tmp_path / "model.gguf", name, {"": T.F32})
    logits = run_plainly(open_executor(tmp_path / "model.gguf", backend))
    assert relative_error(logits, logits_of(model, PROMPT)) < FLOAT_TOLERANCE


def test_torch_on_quantised_weights(tmp_path: Path) -> None:
    """The reference back end multiplies with exactly what the blocks decode to."""
    model = save_tiny_gguf(tmp_path / "model.gguf", "llama-wide", MIXED)
    logits = run_plainly(open_executor(tmp_path / "model.gguf", "torch"))
    assert relative_error(logits, logits_of(model, PROMPT)) < FLOAT_TOLERANCE


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize(
    "encodings", [MIXED, {"": T.Q8_0}, {"": T.Q4_0}, {"": T.Q4_1}], ids=["mixed", "q8_0", "q4_0", "q4_1"]
)
def test_native_on_quantised_weights(tmp_path: Path, encodings: Encodings, backend: str) -> None:
    """Against the decoded weights, with activations rounded to int8 as the kernels do."""
    model = save_tiny_gguf(tmp_path / "model.gguf", "llama-wide", encodings)
    logits = run_plainly(open_executor(tmp_path / "model.gguf", backend))
    expected = logits_of(round_activations(model, to_int8_groups), PROMPT)
    assert rms_error(logits, expected) < INT8_TOLERANCE


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("quantization", ["q8", "q4"])
def test_quantised_while_loading(folder: Callable[..., Path], quantization: Quantization, backend: str) -> None:
    path = folder("llama-tied")
    logits = run_plainly(
        open_executor(path, backend, weight_format=lambda t: storage_format(t, quantization=quantization))
    )
    model = load_reference(path, to_int8_groups)
    tensors = open_checkpoint(path).tensors
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            packed = pack_matrix(_native.WeightStore(1), tensors[name], quantization)
            parameter.data.copy_(torch.from_numpy(packed.unpack()))
    assert rms_error(logits, logits_of(model, PROMPT)) < INT8_TOLERANCE


# --- the same rows, however they are computed -------------------------------------------------------------------

PROMPTS = [PROMPT, random_tokens(37, seed=1), random_tokens(64, seed=2)]


def schedules() -> dict[str, list[list[int]]]:
    """Chunk sizes of each prompt, step by step."""
    lengths = [len(prompt) for prompt in PROMPTS]
    rng = np.random.default_rng(5)
    random = [np.diff(np.sort(rng.choice(np.arange(1, n), 6, replace=False)), prepend=0, append=n) for n in lengths]
    return {
        "one by one": [[1] * n for n in lengths],
        "in sevens": [[7] * (n // 7) + [n % 7] for n in lengths],
        "one after another": [[lengths[0]], [0, lengths[1]], [0, 0, lengths[2]]],
        "prompt beside decodes": [[1] * lengths[0], [0] * 20 + [lengths[1]], [0] * 30 + [lengths[2] - 4, 1, 1, 1, 1]],
        "at random": [sizes.tolist() for sizes in random],
    }


@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_chunks_and_neighbours_in_torch(folder: Callable[..., Path], name: str) -> None:
    """Equal within rounding: the order of torch's sums depends on the batch."""
    executor = open_executor(folder(name), "torch")
    expected = [run_plainly(executor, prompt) for prompt in PROMPTS]
    for schedule in ("in sevens", "one after another", "at random"):
        logits = run_in_chunks(executor, PagedSequences(CACHE, len(PROMPTS), 100), PROMPTS, schedules()[schedule])
        for got, plain in zip(logits, expected, strict=True):
            assert relative_error(got, torch.from_numpy(plain)) < FLOAT_TOLERANCE, schedule


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_chunks_and_neighbours_change_no_bit(
    folder: Callable[..., Path], name: str, dtype: torch.dtype, backend: str
) -> None:
    path = folder(name, dtype)
    assert_bits_stay(open_executor(path, backend, threads=1), open_executor(path, backend, threads=3))


@pytest.mark.parametrize("backend", NATIVE)
def test_quantised_chunks_and_neighbours_change_no_bit(tmp_path: Path, backend: str) -> None:
    path = tmp_path / "model.gguf"
    save_tiny_gguf(path, "llama-wide", MIXED)
    assert_bits_stay(open_executor(path, backend, threads=1), open_executor(path, backend, threads=3))


def assert_bits_stay(plain: Executor, varied: Executor) -> None:
    """Every schedule of `varied` gives the bits of `plain` computing each prompt alone and at once."""
    expected = [run_plainly(plain, prompt) for prompt in PROMPTS]
    for seed, (schedule, chunk_sizes) in enumerate(schedules().items()):
        sequences = PagedSequences(CACHE, len(PROMPTS), 100, seed=seed)
        logits = run_in_chunks(varied, sequences, PROMPTS, chunk_sizes)
        for got, wanted in zip(logits, expected, strict=True):
            assert np.array_equal(got, wanted), schedule


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("block_size", [16, 32])
@pytest.mark.parametrize("dtype", CACHE_TOLERANCES)
def test_narrow_caches(folder: Callable[..., Path], backend: str, block_size: int, dtype: CacheDType) -> None:
    path = folder("llama")
    cache = CacheSpec(num_blocks=12, block_size=block_size, dtype=dtype)
    logits = run_plainly(open_executor(path, backend, cache=cache), cache=cache)
    error = rms_error(logits, logits_of(load_reference(path), PROMPT))
    assert FLOAT_TOLERANCE < error < CACHE_TOLERANCES[dtype]  # the cache is narrower indeed
