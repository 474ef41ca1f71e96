"""Opening a model by its path: what is found, what is refused, and with which words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fixtures.weight_files import random_tensor, write_gguf
from inglenook.checkpoint.checkpoint import find_file, open_checkpoint, read_generation_config, unused_tensors
from inglenook.checkpoint.safetensors import SINGLE_NAME
from inglenook.errors import CheckpointError

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def write_safetensors_folder(folder: Path, **tensors: torch.Tensor) -> None:
    (folder / "config.json").write_text('{"model_type": "llama"}')
    save_file(tensors or {"w": torch.ones(2, 3)}, folder / SINGLE_NAME)


def write_tiny_gguf(path: Path) -> None:
    write_gguf(path, [random_tensor("f16", (2, 3), name="token_embd.weight")])


def test_safetensors_folder(tmp_path: Path) -> None:
    write_safetensors_folder(tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.format == "safetensors"
    assert checkpoint.config == {"model_type": "llama"}
    assert checkpoint.path == tmp_path
    assert checkpoint.total_bytes == 24
    assert checkpoint.tensors["w"].shape == (2, 3)


def test_gguf_file_and_folder(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "m.gguf")
    for path in (tmp_path, tmp_path / "m.gguf"):
        checkpoint = open_checkpoint(path)
        assert checkpoint.format == "gguf"
        assert checkpoint.config["general.architecture"] == "llama"
        assert checkpoint.path == tmp_path / "m.gguf"
        assert checkpoint.total_bytes == 12
        assert list(checkpoint.tensors) == [EMBEDDING]


def test_folder_with_a_split_gguf(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", [random_tensor("f32", (4,), name=f"t{n}") for n in range(3)], tensors_per_part=1)
    assert len(open_checkpoint(tmp_path).tensors) == 3


def test_load_format_decides_where_both_are_there(tmp_path: Path) -> None:
    write_safetensors_folder(tmp_path)
    write_tiny_gguf(tmp_path / "m.gguf")
    assert open_checkpoint(tmp_path).format == "safetensors"
    assert open_checkpoint(tmp_path, load_format="gguf").format == "gguf"
    assert open_checkpoint(tmp_path, load_format="safetensors").format == "safetensors"
    (tmp_path / "config.json").unlink()
    assert open_checkpoint(tmp_path).format == "gguf"


def test_close_lets_go(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "m.gguf")
    checkpoint = open_checkpoint(tmp_path)
    data = checkpoint.tensors[EMBEDDING].data
    checkpoint.close()
    assert not checkpoint.tensors
    assert data.nbytes == 12 and data.tobytes()


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing at 'gone'"):
        open_checkpoint(tmp_path / "gone")
    with pytest.raises(CheckpointError, match=r"holds no model.*config\.json.*nothing"):
        open_checkpoint(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(CheckpointError, match="loop can't be read"):
        open_checkpoint(tmp_path / "loop")
    (tmp_path / "README.md").touch()
    with pytest.raises(CheckpointError, match=r"only 'README\.md'"):
        open_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match=r"no \.gguf file"):
        open_checkpoint(tmp_path, load_format="gguf")


def test_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02")
    for path in (tmp_path, tmp_path / "pytorch_model.bin"):
        with pytest.raises(CheckpointError, match=r"pytorch_model\.bin.*convert it"):
            open_checkpoint(path)


def test_several_models_in_a_folder(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        write_tiny_gguf(tmp_path / name)
    with pytest.raises(CheckpointError, match=r"several GGUF models \('a\.gguf', 'b\.gguf'\)"):
        open_checkpoint(tmp_path)


def test_files_that_are_no_model(tmp_path: Path) -> None:
    write_safetensors_folder(tmp_path)
    with pytest.raises(CheckpointError, match="give the folder"):
        open_checkpoint(tmp_path / SINGLE_NAME)
    with pytest.raises(CheckpointError, match="isn't a GGUF file"):
        open_checkpoint(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match="isn't a folder"):
        open_checkpoint(tmp_path / "config.json", load_format="safetensors")


def test_config_json_missing_or_broken(tmp_path: Path) -> None:
    write_safetensors_folder(tmp_path)
    (tmp_path / "config.json").write_bytes(b'{"a": \xff}')
    with pytest.raises(CheckpointError, match=r"config\.json isn't valid JSON"):
        open_checkpoint(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no file config\.json"):
        open_checkpoint(tmp_path)


def test_model_without_tensors(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", [])
    with pytest.raises(CheckpointError, match="holds no tensors"):
        open_checkpoint(tmp_path)


def test_unused_tensors(tmp_path: Path) -> None:
    write_safetensors_folder(
        tmp_path,
        used=torch.ones(2),
        **{"model.layers.3.self_attn.rotary_emb.inv_freq": torch.ones(2), "rope_freqs.weight": torch.ones(2)},
        forgotten=torch.ones(2),
    )
    assert unused_tensors(open_checkpoint(tmp_path), {"used"}) == ["forgotten"]


@pytest.mark.parametrize("is_equal", [True, False])
def test_a_tied_head_may_be_stored_again(tmp_path: Path, is_equal: bool) -> None:
    embedding = torch.randn(4, 3)
    head = embedding.clone() if is_equal else embedding + 1
    write_safetensors_folder(tmp_path, **{EMBEDDING: embedding, HEAD: head})
    assert unused_tensors(open_checkpoint(tmp_path), {EMBEDDING}) == ([] if is_equal else [HEAD])


def test_side_files(tmp_path: Path) -> None:
    assert read_generation_config(tmp_path) == {}
    assert read_generation_config(None) == {}
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 2]}))
    assert read_generation_config(tmp_path) == {"eos_token_id": [1, 2]}
    assert find_file(tmp_path, "tokenizer.json") is None
    (tmp_path / "tokenizer.json").touch()
    assert find_file(tmp_path, "tokenizer.json") == tmp_path / "tokenizer.json"
    assert find_file(tmp_path / "tokenizer.json", "tokenizer.json") is None


def test_gguf_shapes_are_row_major(tmp_path: Path) -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = random_tensor("f32", (2, 3), name="output.weight")
    write_gguf(tmp_path / "m.gguf", [type(tensor)("output.weight", (2, 3), "f32", matrix.view(np.uint8).reshape(-1))])
    read = open_checkpoint(tmp_path).tensors[HEAD]
    np.testing.assert_array_equal(read.data.view(np.float32).reshape(read.shape), matrix)
