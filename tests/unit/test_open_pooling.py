"""Which models give vectors and scores, and how their folders are read; what is refused, and by what name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fixtures.tiny_encoders import save_tiny_encoder, write_modules
from fixtures.tiny_folder import write_tiny_folder
from inglenook.config import ModelSettings
from inglenook.engine.open_pooling import PoolingModel, open_pooling_model, task_of
from inglenook.errors import CheckpointError, InglenookError, UnsupportedModelError

MODEL = ModelSettings(model="tiny")
MEAN = ("Pooling", {"pooling_mode_mean_tokens": True})
Folder = Callable[[str], Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return lambda name: save_tiny_encoder(tmp_path / name, name)[0]


def open_model(path: Path, **options: Any) -> PoolingModel:
    return open_pooling_model(path, ModelSettings(model="tiny", **options))


def edit_config(path: Path, **changes: Any) -> Path:
    file = path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return path


def edit_tensors(path: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Path:
    file = path / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    save_file(change(tensors), file)
    return path


# --- the task ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("bert", "embed"),
        ("roberta-ranker", "score"),
        ("bert-classifier", "classify"),
        ("distilbert", "embed"),
        ("mistral", "embed"),
    ],
)
def test_the_task_is_what_the_files_show(folder: Folder, name: str, task: str) -> None:
    path = folder(name)
    assert task_of(path, MODEL) == task
    assert task_of(path, ModelSettings(model="x", task=task)) == task  # type: ignore[arg-type]


def test_decoders_generate_unless_they_are_made_for_vectors(tmp_path: Path) -> None:
    path = write_tiny_folder(tmp_path / "model")
    assert task_of(path, MODEL) == "generate"
    assert task_of(path, ModelSettings(model="x", task="embed")) == "embed"
    write_modules(path, ("Pooling", {"pooling_mode": "lasttoken"}))
    assert task_of(path, MODEL) == "embed"
    assert task_of(path, ModelSettings(model="x", task="generate")) == "generate"
    assert task_of(None, MODEL) == task_of(tmp_path / "model.gguf", MODEL) == "generate"


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("bert", "generate", "The task is generate, but the model gives vectors for texts: its task is embed"),
        ("bert", "score", "its task is embed"),
        ("bert-ranker", "embed", "the model ranks texts: its task is score"),
        ("bert-ranker", "classify", "its task is score"),
        ("bert-classifier", "score", "the model sorts texts into classes: its task is classify"),
        ("llama", "score", "no classifier"),
        ("llama", "classify", "no classifier"),
    ],
)
def test_a_task_that_the_model_can_not_do_is_refused(folder: Folder, name: str, task: Any, message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        task_of(folder(name), ModelSettings(model="x", task=task))
    assert caught.value.param == "task"


# --- names of tensors -----------------------------------------------------------------------------------------------


def same_tensors(a: PoolingModel, b: PoolingModel) -> bool:
    assert a.program.weights == b.program.weights
    return all(
        np.array_equal(a.checkpoint.tensors[name].data, b.checkpoint.tensors[name].data) for name in a.program.weights
    )


@pytest.mark.parametrize(
    ("name", "prefix"), [("bert", "bert."), ("xlm-roberta", "roberta."), ("distilbert", "distilbert.")]
)
def test_variants_of_names(folder: Folder, name: str, prefix: str) -> None:
    """A prefix, norms as TensorFlow called them, and leftovers that only a language model's head uses."""
    path = folder(name)
    plain = open_model(path)

    def change(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        renamed = {
            prefix + re.sub(r"(?i)(norm)\.weight$", r"\1.gamma", re.sub(r"(?i)(norm)\.bias$", r"\1.beta", key)): value
            for key, value in tensors.items()
        }
        head = {"bert": "cls.predictions.bias", "xlm-roberta": "lm_head.bias", "distilbert": "vocab_projector.bias"}[
            name
        ]
        return {**renamed, head: torch.zeros(90), prefix + "embeddings.position_ids": torch.arange(7)[None]}

    other = open_model(edit_tensors(path, change))
    assert any(name.startswith("embeddings.LayerNorm.weight") for name in other.checkpoint.tensors)
    assert same_tensors(plain, other)
    assert other.config == plain.config


def test_a_ranker_needs_its_pooler(folder: Folder) -> None:
    path = edit_tensors(folder("bert-ranker"), lambda t: {k: v for k, v in t.items() if "pooler" not in k})
    with pytest.raises(CheckpointError, match=r"lacks 2 weights that the model needs: pooler\.dense"):
        open_model(path)


def test_unknown_tensors_are_refused(folder: Folder) -> None:
    path = edit_tensors(folder("bert"), lambda t: {**t, "encoder.layer.0.extra.weight": torch.zeros(3)})
    with pytest.raises(CheckpointError, match="extra"):
        open_model(path)


def test_pickled_weights_are_refused(folder: Folder) -> None:
    path = folder("bert")
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickle"):
        open_model(path)


# --- config.json ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"hidden_act": "mish"}, "hidden_act"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"is_decoder": True}, "is_decoder"),
        ({"num_attention_heads": 5}, "hidden_size"),
        ({"something_new": 3}, "something_new"),
        ({"vocab_size": None}, "vocab_size"),
    ],
)
def test_what_is_not_supported_is_named(folder: Folder, changes: dict[str, Any], key: str) -> None:
    with pytest.raises(UnsupportedModelError, match=key):
        open_model(edit_config(folder("bert"), **changes))


def test_without_architectures_the_model_type_says_it(folder: Folder) -> None:
    path = edit_config(folder("distilbert"), architectures=None)
    assert task_of(path, MODEL) == "embed"
    assert open_model(path).config.architecture == "distilbert"


@pytest.mark.parametrize("name", ["bert-ranker", "distilbert", "llama"])
def test_what_others_write_into_the_configuration(folder: Folder, name: str) -> None:
    """Keys for sentence-transformers and for other programs change nothing that is computed."""
    path = folder(name)
    plain = open_model(path)
    added = {
        "sentence_transformers": {"version": "5.0.0"},
        "matryoshka_dimensions": [8, 16],
        "is_matryoshka": True,
        **({} if name == "llama" else {"output_hidden_states": True, "output_past": True, "tie_weights_": True}),
        **({} if name == "llama" else {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}),
    }
    assert open_model(edit_config(path, **added)).config == plain.config


def test_roberta_begins_behind_the_padding_token(folder: Folder) -> None:
    model = open_model(folder("roberta"))
    assert model.config.max_position == 210 - 5 == model.program.max_positions


# --- modules of sentence-transformers -------------------------------------------------------------------------------


def test_the_longest_input_is_what_the_makers_want(folder: Folder) -> None:
    path = folder("bert")
    assert open_model(path).max_length == 210
    for value, expected in ((100, 100), (5000, 210), (None, 210)):
        (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": value, "do_lower_case": False}))
        assert open_model(path).max_length == expected


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (
            [("Pooling", {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True})],
            "mean_tokens and max_tokens",
        ),
        ([("Pooling", {"pooling_mode_weightedmean_tokens": True})], "weightedmean_tokens; it must be one of"),
        ([("Pooling", {})], "not said"),
        ([("Pooling", {"pooling_mode": "mean", "include_prompt": False})], "include_prompt"),
        ([("Normalize", {})], "supported are one Pooling"),
        ([MEAN, ("LayerNorm", {"dimension": 42})], "Pooling, LayerNorm"),
        ([MEAN, MEAN], "Pooling, Pooling"),
        ([MEAN, ("Normalize", {}), ("Normalize", {})], "supported are one Pooling"),
        ([], "no Pooling module"),
        ([MEAN, ("Dense", {"in_features": 42, "out_features": 8})], "no weights as safetensors"),
    ],
)
def test_modules_that_are_not_supported(folder: Folder, modules: Any, message: str) -> None:
    path = folder("bert")
    write_modules(path, *modules)
    with pytest.raises(CheckpointError, match=message):
        open_model(path)


def test_an_unknown_activation_of_a_dense_layer(folder: Folder) -> None:
    path = folder("bert")
    dense = {"in_features": 42, "out_features": 8, "bias": True, "activation_function": "torch.nn.Mish"}
    write_modules(path, MEAN, ("Dense", dense), layers={"2_Dense": torch.nn.Linear(42, 8)})
    with pytest.raises(UnsupportedModelError, match=r"activation_function is 'torch.nn.Mish'"):
        open_model(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "isn't a list of modules"),
        ("[]", "names no modules|isn't a list"),
        ('[{"type": "a.Transformer"}]', "isn't a list of modules"),
        ('[{"type": "a.CLIPModel", "path": ""}]', "begins with the module 'CLIPModel'"),
        ('[{"type": "a.Transformer", "path": "0_Transformer"}]', "an old layout"),
        ('[{"type": "a.Transformer", "path": ""}, {"type": "b.Pooling", "path": "../x"}]', "isn't a folder beside it"),
    ],
)
def test_broken_lists_of_modules(folder: Folder, text: str, message: str) -> None:
    path = folder("bert")
    (path / "modules.json").write_text(text)
    with pytest.raises(InglenookError, match=message):
        open_model(path)
