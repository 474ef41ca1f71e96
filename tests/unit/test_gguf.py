"""The GGUF reader against the reference writer, and against damage of every kind."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fixtures.weight_files import (
    ALL_ENCODINGS,
    ARRAY,
    STRING,
    U32,
    RawTensor,
    gguf_bytes,
    gguf_entry,
    gguf_string,
    gguf_strings,
    random_tensor,
    write_gguf,
)
from inglenook.checkpoint.gguf import GGUFModel, read_gguf
from inglenook.errors import CheckpointError, UnsupportedModelError
from inglenook.ops.weights import BLOCK_LAYOUTS

SOUND = gguf_bytes(
    (
        gguf_entry("general.architecture", STRING, gguf_string("llama")),
        gguf_entry("general.alignment", U32, struct.pack("<I", 32)),
        gguf_strings("tokenizer.ggml.tokens", ["a", "", "ü", "Ġthe"]),
        gguf_entry("tokenizer.ggml.scores", ARRAY, struct.pack("<IQ2f", 6, 2, 0.5, -1)),
        gguf_entry("flags", ARRAY, struct.pack("<IQ2B", 7, 2, 1, 0)),
    ),
    (RawTensor(), RawTensor("output.weight", (32, 2), type_id=2, offset=32)),
    bytes(range(68)),
)


def read_bytes(folder: Path, content: bytes) -> GGUFModel:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return read_gguf(path)


# --- what the reference writer writes ----------------------------------------------------------------------------


@pytest.mark.parametrize("alignment", [None, 8, 256])
def test_tensors_of_all_encodings(tmp_path: Path, alignment: int | None) -> None:
    tensors = [random_tensor(encoding, (3, 512), name=f"t.{encoding}") for encoding in ALL_ENCODINGS]
    tensors.append(random_tensor("f32", (5,), name="vector"))
    tensors.append(random_tensor("f16", (2, 3, 4, 5), name="four"))
    write_gguf(tmp_path / "m.gguf", tensors, alignment=alignment)
    read = read_gguf(tmp_path / "m.gguf").tensors
    assert list(read) == [tensor.name for tensor in tensors]
    for tensor in tensors:
        actual = read[tensor.name]
        assert (actual.name, actual.shape, actual.encoding) == (tensor.name, tensor.shape, tensor.encoding)
        assert actual.data.dtype == np.uint8
        assert not actual.data.flags.writeable
        np.testing.assert_array_equal(actual.data, tensor.data)


def test_metadata_of_all_types(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_uint8("u8", 255)
    writer.add_int8("i8", -128)
    writer.add_uint16("u16", 65535)
    writer.add_int16("i16", -32768)
    writer.add_uint32("u32", 2**32 - 1)
    writer.add_int32("i32", -(2**31))
    writer.add_uint64("u64", 2**64 - 1)
    writer.add_int64("i64", -(2**63))
    writer.add_float32("f32", 0.5)
    writer.add_float64("f64", 0.1)
    writer.add_bool("yes", True)
    writer.add_bool("no", False)
    writer.add_string("text", "grüezi\n")
    writer.add_array("texts", ["", "ü", "a b"])
    writer.add_array("ints", [1, -2, 3])
    writer.add_array("floats", [0.5, -1.5])
    writer.add_array("bools", [True, False])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    metadata = read_gguf(tmp_path / "m.gguf").metadata
    for key, values in {"ints": [1, -2, 3], "floats": [0.5, -1.5], "bools": [True, False]}.items():
        array = metadata.pop(key)
        assert isinstance(array, np.ndarray)
        assert array.flags.owndata  # or the file would stay mapped for it
        assert array.tolist() == values
    assert metadata == {
        "general.architecture": "llama",
        "u8": 255,
        "i8": -128,
        "u16": 65535,
        "i16": -32768,
        "u32": 2**32 - 1,
        "i32": -(2**31),
        "u64": 2**64 - 1,
        "i64": -(2**63),
        "f32": 0.5,
        "f64": 0.1,
        "yes": True,
        "no": False,
        "text": "grüezi\n",
        "texts": ["", "ü", "a b"],
    }
    assert metadata["yes"] is True


def test_llama_names_become_hugging_face_names(tmp_path: Path) -> None:
    names = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output.weight": "lm_head.weight",
        "output_norm.weight": "model.norm.weight",
        "rope_freqs.weight": "rope_freqs.weight",
        "blk.0.attn_norm.weight": "model.layers.0.input_layernorm.weight",
        "blk.0.attn_q.weight": "model.layers.0.self_attn.q_proj.weight",
        "blk.0.attn_k.bias": "model.layers.0.self_attn.k_proj.bias",
        "blk.0.attn_v.weight": "model.layers.0.self_attn.v_proj.weight",
        "blk.11.attn_output.weight": "model.layers.11.self_attn.o_proj.weight",
        "blk.11.ffn_norm.weight": "model.layers.11.post_attention_layernorm.weight",
        "blk.11.ffn_gate.weight": "model.layers.11.mlp.gate_proj.weight",
        "blk.11.ffn_up.weight": "model.layers.11.mlp.up_proj.weight",
        "blk.11.ffn_down.weight": "model.layers.11.mlp.down_proj.weight",
        "blk.11.ffn_sub_norm.weight": "blk.11.ffn_sub_norm.weight",
    }
    write_gguf(tmp_path / "m.gguf", [random_tensor("f32", (4,), name=name) for name in names])
    assert list(read_gguf(tmp_path / "m.gguf").tensors) == list(names.values())


def test_the_view_outlives_the_file(tmp_path: Path) -> None:
    tensor = random_tensor("q8_0", (4, 64))
    write_gguf(tmp_path / "m.gguf", [tensor])
    data = read_gguf(tmp_path / "m.gguf").tensors["w"].data
    (tmp_path / "m.gguf").unlink()
    np.testing.assert_array_equal(data, tensor.data)


def test_sound_file_by_hand(tmp_path: Path) -> None:
    model = read_bytes(tmp_path, SOUND)
    assert model.metadata["tokenizer.ggml.tokens"] == ["a", "", "ü", "Ġthe"]
    assert model.metadata["flags"].tolist() == [True, False]
    assert model.tensors["lm_head.weight"].shape == (2, 32)
    assert bytes(model.tensors["lm_head.weight"].data) == bytes(range(32, 68))
    assert read_bytes(tmp_path, SOUND[:4] + struct.pack("<I", 2) + SOUND[8:]).metadata.keys() == model.metadata.keys()


# --- split models -------------------------------------------------------------------------------------------------


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    tensors = [random_tensor("f32", (4,), name=f"t{number}", seed=number) for number in range(5)]
    write_gguf(tmp_path / "m.gguf", tensors, tensors_per_part=2)
    return sorted(tmp_path.glob("m-0000?-of-00003.gguf"))


@pytest.mark.parametrize("opened", [0, 1, 2])
def test_split_model_from_any_part(parts: list[Path], opened: int) -> None:
    model = read_gguf(parts[opened])
    assert list(model.tensors) == ["t0", "t1", "t2", "t3", "t4"]
    assert model.metadata["general.architecture"] == "llama"
    for number, tensor in enumerate(model.tensors.values()):
        np.testing.assert_array_equal(tensor.data, random_tensor("f32", (4,), seed=number).data)


def test_split_model_with_a_part_missing(parts: list[Path]) -> None:
    parts[1].unlink()
    with pytest.raises(CheckpointError, match=r"'m-00002-of-00003\.gguf'.*Fetch"):
        read_gguf(parts[0])


def test_split_model_with_a_part_twice(parts: list[Path]) -> None:
    parts[1].write_bytes(parts[2].read_bytes())
    with pytest.raises(CheckpointError, match=r"m-00002-of-00003\.gguf isn't part 2 of 3"):
        read_gguf(parts[0])


def test_split_model_with_too_few_tensors(parts: list[Path]) -> None:
    key = gguf_string("split.tensors.count") + struct.pack("<I", 5)  # int32
    content = parts[0].read_bytes()
    parts[0].write_bytes(content.replace(key + struct.pack("<i", 5), key + struct.pack("<i", 6)))
    with pytest.raises(CheckpointError, match="5 tensors instead of 6"):
        read_gguf(parts[2])


def test_split_model_under_another_name(parts: list[Path], tmp_path: Path) -> None:
    renamed = parts[0].rename(tmp_path / "renamed.gguf")
    with pytest.raises(CheckpointError, match="one of 3 parts"):
        read_gguf(renamed)


# --- damage -------------------------------------------------------------------------------------------------------

TWO_NORMS = (RawTensor(), RawTensor("other", offset=32))
DAMAGED = {
    "magic": (b"GGML" + SOUND[4:], "isn't a GGUF file"),
    "version 1": (SOUND[:4] + struct.pack("<I", 1) + SOUND[8:], "GGUF version 1"),
    "big-endian": (SOUND[:4] + struct.pack(">I", 3) + SOUND[8:], "big-endian"),
    "key twice": (gguf_bytes((gguf_entry("k", U32, bytes(4)),) * 2), "'k' is there twice"),
    "long key twice": (gguf_bytes((gguf_entry("k" * 60000, U32, bytes(4)),) * 2), r"'k{100}\.\.\.' is there twice"),
    "no key": (gguf_bytes((gguf_entry("", U32, bytes(4)),)), "metadata key 0"),
    "value type": (gguf_bytes((gguf_entry("k", 13, bytes(8)),)), "unknown value type 13"),
    "element type": (gguf_bytes((gguf_entry("k", ARRAY, struct.pack("<IQ", 77, 0)),)), "unknown element type 77"),
    "nested array": (gguf_bytes((gguf_entry("k", ARRAY, struct.pack("<IQ", ARRAY, 0)),)), "array of arrays"),
    "strings": (
        gguf_bytes((gguf_entry("k", ARRAY, struct.pack("<IQ", STRING, 99)),)),
        "'k' needs 792 bytes where 111 are left",
    ),
    "last string": (gguf_bytes((gguf_strings("k", ["abc"]),), (), b"")[:59], "string 0 of 'k' is 3 bytes long"),
    "bool": (gguf_bytes((gguf_entry("k", 7, b"\2"),)), "neither 0 nor 1"),
    "utf-8": (gguf_bytes((gguf_entry("k", STRING, gguf_string(b"\xff")),)), "isn't UTF-8"),
    "alignment 0": (gguf_bytes((gguf_entry("general.alignment", U32, bytes(4)),)), "power of two"),
    "alignment 24": (gguf_bytes((gguf_entry("general.alignment", U32, struct.pack("<I", 24)),)), "power of two"),
    "alignment text": (gguf_bytes((gguf_entry("general.alignment", STRING, gguf_string("x")),)), "power of two"),
    "no dimensions": (gguf_bytes(tensors=(RawTensor(dimensions=()),)), "0 dimensions"),
    "five dimensions": (gguf_bytes(tensors=(RawTensor(dimensions=(1,) * 5),)), "5 dimensions"),
    "dimension 0": (gguf_bytes(tensors=(RawTensor(dimensions=(8, 0)),)), "dimension of 0"),
    "no name": (gguf_bytes(tensors=(RawTensor(name=""),)), "no name of its own"),
    "name twice": (gguf_bytes(tensors=(RawTensor(), RawTensor())), "no name of its own"),
    "canonical name twice": (
        gguf_bytes(tensors=(TWO_NORMS[0], RawTensor("model.norm.weight", offset=32)), data=bytes(64)),
        r"'model\.norm\.weight' is there twice",
    ),
    "half a block": (gguf_bytes(tensors=(RawTensor(dimensions=(33,), type_id=2),)), "multiple of Q4_0's 32"),
    "offset": (gguf_bytes(tensors=(RawTensor(offset=4),), data=bytes(64)), "isn't a multiple of 32"),
    "overlap": (gguf_bytes(tensors=(RawTensor(dimensions=(9,)), TWO_NORMS[1]), data=bytes(64)), "overlaps"),
    "data short": (gguf_bytes(data=bytes(31)), "cut short: 1 of 128 bytes are missing"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_named(tmp_path: Path, case: str) -> None:
    content, words = DAMAGED[case]
    with pytest.raises(CheckpointError, match=words):
        read_bytes(tmp_path, content)


def test_empty_arrays_and_no_tensors(tmp_path: Path) -> None:
    entries = (gguf_strings("texts", []), gguf_entry("numbers", ARRAY, struct.pack("<IQ", U32, 0)))
    header_bytes = 24 + sum(map(len, entries))  # the file ends where the last array begins
    model = read_bytes(tmp_path, gguf_bytes(entries, ())[:header_bytes])
    assert model.metadata["numbers"].tolist() == model.metadata["texts"] == []
    assert not model.tensors


def test_sound_neighbours_of_the_damaged_files(tmp_path: Path) -> None:
    assert len(read_bytes(tmp_path, gguf_bytes(tensors=TWO_NORMS, data=bytes(64))).tensors) == 2


@pytest.mark.parametrize(("type_id", "name"), [(10, "Q2_K"), (23, "IQ4_XS"), (999, "unknown type 999")])
def test_unsupported_types_are_named(tmp_path: Path, type_id: int, name: str) -> None:
    with pytest.raises(UnsupportedModelError, match=f"{name}.*output_norm.*Q4_K"):
        read_bytes(tmp_path, gguf_bytes(tensors=(RawTensor(type_id=type_id),)))


def test_missing_empty_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no file gone\.gguf"):
        read_gguf(tmp_path / "gone.gguf")
    with pytest.raises(CheckpointError, match="is empty"):
        read_bytes(tmp_path, b"")
    with pytest.raises(CheckpointError, match="can't be read"):
        read_gguf(tmp_path)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    for length in range(1, len(SOUND)):
        with pytest.raises(CheckpointError):
            read_bytes(tmp_path, SOUND[:length])


HUGE = 2**60
HUGE_CLAIMS = {
    "tensors": gguf_bytes(num_tensors=HUGE),
    "entries": gguf_bytes(num_entries=HUGE),
    "string": gguf_bytes((gguf_entry("k", STRING, struct.pack("<Q", HUGE)),)),
    "strings": gguf_bytes((gguf_entry("k", ARRAY, struct.pack("<IQ", STRING, HUGE)),)),
    "string in array": gguf_bytes((gguf_entry("k", ARRAY, struct.pack("<IQQ", STRING, 1, HUGE)),)),
    "numbers": gguf_bytes((gguf_entry("k", ARRAY, struct.pack("<IQ", U32, HUGE)),)),
    "dimension": gguf_bytes(tensors=(RawTensor(dimensions=(HUGE,)),)),
    "dimensions": gguf_bytes(tensors=(RawTensor(dimensions=(HUGE,) * 4),)),
    "offset": gguf_bytes(tensors=(RawTensor(offset=HUGE),)),
    "alignment": gguf_bytes((gguf_entry("general.alignment", 10, struct.pack("<Q", HUGE)),)),
}


@pytest.mark.parametrize("case", HUGE_CLAIMS)
def test_huge_claims_take_no_memory(tmp_path: Path, case: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError):
            read_bytes(tmp_path, HUGE_CLAIMS[case])
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@example([(8, 255)])
def test_flipped_bytes_give_an_error_or_a_sound_model(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]
) -> None:
    content = bytearray(SOUND)
    for position, value in flips:
        content[position] = value
    try:
        model = read_bytes(tmp_path_factory.getbasetemp(), bytes(content))
    except CheckpointError:
        return
    for tensor in model.tensors.values():
        layout = BLOCK_LAYOUTS[tensor.encoding]
        assert tensor.data.nbytes * layout.block_size == np.prod(tensor.shape) * layout.block_bytes
        assert tensor.shape[-1] % layout.block_size == 0
