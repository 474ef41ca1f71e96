"""From files to tokens on the real executors: what is loaded, what is refused, and the same tokens whatever goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file

from inglenook.checkpoint.dummy import dummy_config
from inglenook.config import EngineSettings, ModelSettings
from inglenook.engine import load
from inglenook.engine.load import LoadedEngine, load_engine
from inglenook.engine.memory import AvailableMemory
from inglenook.engine.plan import MIB, Plan
from inglenook.engine.request import EngineOutput, EngineRequest
from inglenook.errors import CheckpointError, ConfigError, EngineError, OutOfMemoryError
from inglenook.models.registry import build_program, read_config
from inglenook.types import SamplingParams

TINY = ModelSettings(model="dummy:tiny")
SETTINGS = {"threads": 2, "kv_cache_memory_bytes": MIB}


@contextmanager
def loaded(path: Path | None = None, model: ModelSettings = TINY, **settings: Any) -> Iterator[LoadedEngine]:
    engine = load_engine(path, model, EngineSettings(**{**SETTINGS, **settings}))
    try:
        yield engine
    finally:
        engine.engine.stop()


def run(engine: LoadedEngine, requests: list[EngineRequest]) -> dict[str, list[EngineOutput]]:
    outputs: dict[str, list[EngineOutput]] = {request.request_id: [] for request in requests}
    for output in engine.engine.generate_blocking(requests):
        outputs[output.request_id].append(output)
    return outputs


def tokens(outputs: list[EngineOutput]) -> list[Any]:
    assert all(output.error is None for output in outputs)
    return [token for output in outputs for token in output.tokens]


def make_requests(count: int) -> list[EngineRequest]:
    """Prompts of many lengths with common beginnings, greedy and seeded."""
    return [
        EngineRequest(
            str(i),
            tuple((7 * j + i % 3) % 256 for j in range(5 + 11 * i % 120)),
            SamplingParams(max_tokens=20 + 5 * (i % 7), temperature=0.8 * (i % 2), top_k=40, seed=i, logprobs=2),
        )
        for i in range(count)
    ]


def write_model(folder: Path, **options: Any) -> dict[str, npt.NDArray[np.float32]]:
    """A folder with config.json and small random weights, without a safetensors file yet."""
    config = {**dummy_config("tiny"), "tie_word_embeddings": False, **options}
    (folder / "config.json").write_text(json.dumps(config))
    program = build_program(read_config(config, format="safetensors"))
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(0, 0.2, weight.shape).astype(np.float32)
        if len(weight.shape) > 1
        else np.ones(weight.shape, "f4")
        for name, weight in program.weights.items()
    }


@pytest.fixture(scope="module")
def alone() -> dict[str, list[Any]]:
    """The tokens and log-probabilities of each request when it has the engine to itself."""
    with loaded(threads=1, max_num_seqs=1, max_num_batched_tokens=512, enable_prefix_caching=False) as engine:
        return {name: tokens(outputs) for name, outputs in run(engine, make_requests(24)).items()}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_num_batched_tokens": 7},
        {"threads": 3, "max_num_seqs": 5},
        {"kv_cache_memory_bytes": 5 * 32 * 2 * 2 * 2 * 16 * 2, "max_num_seqs": 16},  # 5 blocks: preemption
    ],
    ids=["batched", "chunked", "threads", "preempted"],
)
def test_same_request_same_tokens(alone: dict[str, list[Any]], settings: dict[str, int]) -> None:
    with loaded(**settings) as engine:
        assert {n: tokens(o) for n, o in run(engine, make_requests(24)).items()} == alone
        is_tight = "kv_cache_memory_bytes" in settings
        for _ in range(20):  # more than once only where the first came so slowly that none had to give way
            again = run(engine, make_requests(24))
            assert {n: tokens(o) for n, o in again.items()} == alone
            if not is_tight or engine.engine.stats().num_preemptions > 0:
                break
        assert (engine.engine.stats().num_preemptions > 0) == is_tight
        assert is_tight or sum(outputs[0].num_cached_tokens for outputs in again.values()) > 500


@pytest.mark.parametrize(
    ("first", "second", "is_same"), [(None, None, False), (5, 5, True), (5, 6, False), (-5, 5, False)]
)
def test_seeds_decide_what_is_drawn(first: int | None, second: int | None, is_same: bool) -> None:
    with loaded() as engine:
        requests = [
            EngineRequest(str(i), (1, 2, 3), SamplingParams(max_tokens=12, temperature=1.0, seed=seed))
            for i, seed in enumerate((first, second))
        ]
        outputs = run(engine, requests)
        assert (tokens(outputs["0"]) == tokens(outputs["1"])) == is_same


def test_torch_gives_the_native_tokens() -> None:
    requests = make_requests(4)[::2]
    model = ModelSettings(model="dummy:tiny", dtype="float32")
    found = []
    for device in ("cpu", "torch"):
        with loaded(model=model, device=device) as engine:
            found.append([[t.token_id for t in tokens(o)] for o in run(engine, requests).values()])
            assert engine.plan.kv_dtype == "f32"
    assert found[0] == found[1]


def test_the_plan_comes_first_and_its_refusal_allocates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[Plan] = []
    engine = load_engine(None, TINY, EngineSettings(**SETTINGS), on_plan=plans.append)
    engine.engine.stop()
    assert plans == [engine.plan] and engine.plan.max_model_len == 512
    monkeypatch.setattr(load, "available_memory", lambda: AvailableMemory(100 * MIB, "free on this machine"))
    with pytest.raises(OutOfMemoryError):
        load_engine(None, TINY, EngineSettings(), on_plan=plans.append)
    assert len(plans) == 1


def test_missing_and_unused_tensors_are_named(tmp_path: Path) -> None:
    weights = write_model(tmp_path)
    name = "model.layers.1.mlp.up_proj.weight"
    save_file({n: w for n, w in weights.items() if n != name}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=name), loaded(tmp_path):
        pass
    save_file({**weights, "model.extra.weight": weights[name]}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.extra\.weight"), loaded(tmp_path):
        pass
    save_file(weights, tmp_path / "model.safetensors")
    with loaded(tmp_path) as engine:
        assert engine.plan.weight_format == "safetensors, f32 weights"


def test_quantization_is_done_or_refused(tmp_path: Path) -> None:
    weights = write_model(tmp_path)
    save_file(weights, tmp_path / "model.safetensors")
    sizes = []
    for wish in (None, "q8", "q4"):
        with loaded(tmp_path, ModelSettings(quantization=wish)) as engine:
            assert wish is None or wish in engine.plan.weight_format
            sizes.append(engine.plan.weights)
            assert len(tokens(run(engine, make_requests(1))["0"])) == 20
    assert sizes[0] > 3 * sizes[1] and sizes[1] > 1.6 * sizes[2]
    weights = write_model(tmp_path, hidden_size=48, intermediate_size=80)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="its matrices are f32"), loaded(tmp_path, ModelSettings(quantization="q8")):
        pass


def test_random_weights_for_a_folders_config(tmp_path: Path) -> None:
    write_model(tmp_path)
    with loaded(tmp_path, ModelSettings(load_format="dummy", dtype="bfloat16")) as engine:
        assert engine.plan.weight_format == "dummy, bf16 weights"
        assert len(tokens(run(engine, make_requests(1))["0"])) == 20
    with (
        pytest.raises(ConfigError, match=r"config\.json"),
        loaded(tmp_path / "config.json", ModelSettings(load_format="dummy")),
    ):
        pass
    with pytest.raises(CheckpointError, match="tiny"), loaded(model=ModelSettings(model="dummy:huge")):
        pass


def test_logits_that_are_no_numbers_end_one_request_only(tmp_path: Path) -> None:
    weights = write_model(tmp_path)
    weights["model.embed_tokens.weight"][7] = np.nan
    save_file(weights, tmp_path / "model.safetensors")
    greedy = SamplingParams(max_tokens=6, temperature=0.0, logit_bias={7: -100.0})
    requests = [EngineRequest(name, prompt, greedy) for name, prompt in [("a", (1, 2)), ("bad", (3, 7)), ("c", (4,))]]
    with loaded(tmp_path) as engine:
        outputs = run(engine, requests)
        assert isinstance(outputs["bad"][-1].error, EngineError)
        assert [len(tokens(outputs[name])) for name in ("a", "c")] == [6, 6]
        assert engine.engine.is_healthy
