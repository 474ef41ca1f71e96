"""What a model's files say of it, for those who ask what is served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from inglenook.types import ModelDetails

if TYPE_CHECKING:
    from inglenook.checkpoint.checkpoint import Checkpoint
    from inglenook.models.encoder_config import EncoderConfig
    from inglenook.models.model_config import ModelConfig

# general.file_type of GGUF's specification.
_FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    32: "BF16",
}
_TORCH_TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def describe(path: Path | None, checkpoint: Checkpoint, config: ModelConfig | EncoderConfig) -> ModelDetails:
    """`path` is where the files are; None for random weights."""
    files = [file.stat() for file in _files(path)]
    return ModelDetails(
        format=checkpoint.format,
        architecture=config.architecture,
        quantization=_quantization(checkpoint),
        num_parameters=config.num_parameters,
        num_bytes=sum(file.st_size for file in files) or checkpoint.total_bytes,
        modified=max((file.st_mtime for file in files), default=0.0),
        sizes={
            "context_length": config.max_position,
            "embedding_length": config.hidden_size,
            "block_count": config.num_layers,
            "feed_forward_length": config.intermediate_size,
            "attention.head_count": config.num_heads,
            "attention.head_count_kv": getattr(config, "num_kv_heads", config.num_heads),
            "vocab_size": config.vocab_size,
        },
        license=_text(checkpoint.config.get("general.license")),
    )


def _files(path: Path | None) -> Iterator[Path]:
    if path is None:
        return
    if path.is_dir():
        yield from (file for file in path.iterdir() if file.is_file())
    else:
        yield path


def _quantization(checkpoint: Checkpoint) -> str:
    values = checkpoint.config
    if checkpoint.format == "gguf":
        return _FILE_TYPES.get(values.get("general.file_type", -1), "")
    return _TORCH_TYPES.get(_text(values.get("dtype") or values.get("torch_dtype")), "")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
