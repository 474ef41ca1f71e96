"""Whole encoders, rankers and decoders as embedders: the rows of every back end against transformers in float32.

The largest error is held to a share of the largest value, as with decoders' logits; beside it stands what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from fixtures.executors import BACKENDS, NATIVE
from fixtures.tiny_encoders import (
    ALL,
    CLASSIFIERS,
    DECODERS,
    EMBEDDERS,
    RANKERS,
    VOCAB_SIZE,
    save_tiny_encoder,
    write_modules,
)
from inglenook.config import EngineSettings, ModelSettings
from inglenook.engine.load_pooling import LoadedPoolingEngine, load_pooling_engine
from inglenook.engine.pooling import PoolingInput

TOLERANCE = 2e-5
Saved = tuple[Path, PreTrainedModel]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Saved]:
    saved: dict[str, Saved] = {}

    def save(name: str) -> Saved:
        if name not in saved:
            saved[name] = save_tiny_encoder(tmp_path_factory.mktemp(name), name)
        return saved[name]

    return save


@contextmanager
def loaded(
    path: Path, backend: str, *, threads: int = 2, model: dict[str, Any] | None = None, **options: Any
) -> Iterator[LoadedPoolingEngine]:
    device, _, isa = backend.partition("-")
    engine = EngineSettings(device="torch" if device == "torch" else "cpu", isa=isa or None, threads=threads, **options)  # type: ignore[arg-type]
    result = load_pooling_engine(path, ModelSettings(model="tiny", **(model or {})), engine)
    yield result
    result.engine.stop()


def random_inputs(name: str, count: int = 30, longest: int = 190) -> list[PoolingInput]:
    rng = np.random.default_rng(3)
    inputs = []
    for length in [1, 2, longest, *rng.integers(1, 60, count - 3)]:
        ids = tuple(rng.integers(5, VOCAB_SIZE, length).tolist())
        num_types = ALL[name].options.get("type_vocab_size", 2) if ALL[name].has_token_types else 1
        types = tuple(rng.integers(0, num_types, length).tolist()) if num_types > 1 else None
        inputs.append(PoolingInput(ids, types))
    return inputs


@torch.inference_mode()
def run_reference(model: PreTrainedModel, item: PoolingInput) -> Any:
    arguments = {} if item.token_type_ids is None else {"token_type_ids": torch.tensor([item.token_type_ids])}
    return model(torch.tensor([item.token_ids]), **arguments)


def hidden_states(model: PreTrainedModel, item: PoolingInput) -> np.ndarray:
    states: np.ndarray = run_reference(model, item).last_hidden_state[0].numpy()
    return states


def assert_close(got: list[np.ndarray], expected: list[np.ndarray], tolerance: float = TOLERANCE) -> None:
    actual, wanted = np.array(got), np.array(expected)
    assert actual.shape == wanted.shape
    assert np.abs(actual - wanted).max() / np.abs(wanted).max() < tolerance


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", EMBEDDERS)
def test_mean_of_an_encoder(folder: Callable[[str], Saved], name: str, backend: str) -> None:
    path, model = folder(name)
    inputs = random_inputs(name)
    with loaded(path, backend) as found:
        assert (found.task, found.width, found.max_model_len) == (
            "embed",
            model.config.hidden_size,
            found.config.max_position,
        )
        got = found.engine.encode_blocking(inputs)
    assert_close(got, [hidden_states(model, item).mean(0) for item in inputs])


@pytest.mark.parametrize("backend", BACKENDS)
def test_float16_weights_lose_nothing_more(tmp_path: Path, backend: str) -> None:
    """Neither activations nor keys and values are rounded below the weights' own format."""
    _, model = save_tiny_encoder(tmp_path / "wide", "bert")
    model.half().save_pretrained(tmp_path / "model")
    inputs = random_inputs("bert")
    with loaded(tmp_path / "model", backend) as found:
        got = found.engine.encode_blocking(inputs)
    assert_close(got, [hidden_states(model.float(), item).mean(0) for item in inputs])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [*RANKERS, *CLASSIFIERS])
def test_logits_of_a_ranker_or_classifier(folder: Callable[[str], Saved], name: str, backend: str) -> None:
    path, model = folder(name)
    inputs = random_inputs(name)
    with loaded(path, backend) as found:
        task = "score" if name in RANKERS else "classify"
        assert (found.task, found.pooling, found.width) == (task, None, model.config.num_labels)
        got = found.engine.encode_blocking(inputs)
    assert_close(got, [run_reference(model, item).logits[0].numpy() for item in inputs])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", DECODERS)
def test_last_token_of_a_decoder(folder: Callable[[str], Saved], name: str, backend: str) -> None:
    """In chunks, where an input is longer than a step."""
    path, model = folder(name)
    inputs = random_inputs(name)
    with loaded(path, backend, max_num_batched_tokens=70, max_num_seqs=5) as found:
        got = found.engine.encode_blocking(inputs)
    assert_close(got, [hidden_states(model, item)[-1] for item in inputs])


# --- the modules of sentence-transformers ------------------------------------------------------------------------

MODES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean_tokens": lambda x: x.mean(0),
    "cls_token": lambda x: x[0],
    "max_tokens": lambda x: x.max(0),
    "mean_sqrt_len_tokens": lambda x: x.sum(0) / len(x) ** 0.5,
    "lasttoken": lambda x: x[-1],
}


@pytest.mark.parametrize("backend", ["torch", NATIVE[-1]])
@pytest.mark.parametrize("name", ["bert", "llama"])
@pytest.mark.parametrize("mode", MODES)
def test_pooling_modes(tmp_path: Path, name: str, mode: str, backend: str) -> None:
    path, model = save_tiny_encoder(tmp_path / "model", name)
    flags = {f"pooling_mode_{other}": other == mode for other in MODES}
    write_modules(path, ("Pooling", {"word_embedding_dimension": 1, **flags}), ("Normalize", {}))
    inputs = random_inputs(name, 10)
    with loaded(path, backend) as found:
        assert found.pooling is not None and found.pooling.is_normalized
        got = found.engine.encode_blocking(inputs)
    assert_close(got, [MODES[mode](hidden_states(model, item)) for item in inputs])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("activation", "function"), [("Tanh", torch.tanh), ("GELU", torch.nn.functional.gelu), ("Identity", lambda x: x)]
)
def test_dense_modules(
    tmp_path: Path, activation: str, function: Callable[[torch.Tensor], torch.Tensor], backend: str
) -> None:
    path, model = save_tiny_encoder(tmp_path / "model", "bert")
    first, second = torch.nn.Linear(42, 30), torch.nn.Linear(30, 17, bias=False)
    common = {"activation_function": f"torch.nn.modules.activation.{activation}"}
    write_modules(
        path,
        ("Pooling", {"pooling_mode_cls_token": True}),
        ("Dense", {"in_features": 42, "out_features": 30, "bias": True, **common}),
        ("Dense", {"in_features": 30, "out_features": 17, "bias": False, **common}),
        layers={"2_Dense": first, "3_Dense": second},
    )
    inputs = random_inputs("bert", 8)
    with loaded(path, backend) as found:
        assert found.width == 17 and found.pooling is not None and not found.pooling.is_normalized
        got = found.engine.encode_blocking(inputs)
    expected = []
    for item in inputs:
        row = torch.from_numpy(hidden_states(model, item)[0])
        with torch.inference_mode():
            expected.append(function(second(function(first(row)))).numpy())
    assert_close(got, expected)


# --- the same bits, however it is computed ------------------------------------------------------------------------


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["bert", "xlm-roberta-classifier", "distilbert", "llama", "mistral"])
def test_steps_and_neighbours_change_no_bit(
    folder: Callable[[str], Saved], name: str, dtype: str, backend: str
) -> None:
    path, _ = folder(name)
    inputs = random_inputs(name)
    model = {"dtype": dtype}
    with loaded(path, backend, threads=1, model=model) as found:
        alone = [found.engine.encode_blocking([item])[0] for item in inputs]
    for threads, max_num_batched_tokens, max_num_seqs in ((2, 512, 64), (3, 61, 3), (1, 2000, 64)):
        sizes = {"max_num_batched_tokens": max_num_batched_tokens, "max_num_seqs": max_num_seqs}
        with loaded(path, backend, threads=threads, model=model, **sizes) as found:
            together = found.engine.encode_blocking(inputs)
        np.testing.assert_array_equal(np.array(together), np.array(alone))
