"""The modules behind a sentence-transformers model -> PoolingConfig."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inglenook.checkpoint.sentence_transformers import SentenceModule
from inglenook.errors import UnsupportedModelError
from inglenook.models.config_reader import ConfigReader
from inglenook.models.pooling import DenseConfig, PoolingConfig, PoolingMode
from inglenook.ops.program import Activation

_MODES: dict[str, PoolingMode] = {
    "cls": "cls",
    "cls_token": "cls",
    "max": "max",
    "max_tokens": "max",
    "mean": "mean",
    "mean_tokens": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "lasttoken": "last",
}
_FLAG = "pooling_mode_"
_ACTIVATIONS: dict[str, Activation | None] = {
    "Identity": None,
    "Tanh": "tanh",
    "ReLU": "relu",
    "GELU": "gelu",
    "SiLU": "silu",
}


def read_pooling(modules: Sequence[SentenceModule]) -> PoolingConfig:
    """Raises UnsupportedModelError where a module isn't known, or does what isn't implemented."""
    mode: PoolingMode | None = None
    dense: list[DenseConfig] = []
    is_normalized = False
    for module in modules:
        is_next = not is_normalized and (mode is None) == (module.kind == "Pooling")
        if module.kind not in ("Pooling", "Dense", "Normalize") or not is_next:
            kinds = ", ".join(other.kind for other in modules)
            raise UnsupportedModelError(
                f"modules.json has the modules {kinds} behind the model; supported are one Pooling, then any number "
                "of Dense, then perhaps a Normalize."
            )
        if module.kind == "Pooling":
            mode = _read_mode(module)
        elif module.kind == "Dense":
            dense.append(_read_dense(module))
        else:
            is_normalized = True
    if mode is None:
        raise UnsupportedModelError("modules.json has no Pooling module, which says how tokens become a vector.")
    return PoolingConfig(mode, tuple(dense), is_normalized)


def _read_mode(module: SentenceModule) -> PoolingMode:
    """Older files have a flag for each mode, newer ones a name."""
    config = module.config
    given = config.get("pooling_mode")
    names = [given] if isinstance(given, str) else given or []
    names = names or [key.removeprefix(_FLAG) for key, value in config.items() if key.startswith(_FLAG) and value]
    if len(names) != 1 or names[0] not in _MODES:
        raise UnsupportedModelError(
            f"{module.name}/config.json: the pooling is {' and '.join(map(str, names)) or 'not said'}; it must be "
            f"one of {', '.join(_MODES)}.",
            param="pooling_mode",
        )
    if config.get("include_prompt") is False:
        raise UnsupportedModelError(
            f"{module.name}/config.json: include_prompt is false; leaving a prompt out of the pooling isn't supported.",
            param="include_prompt",
        )
    return _MODES[names[0]]


def _read_dense(module: SentenceModule) -> DenseConfig:
    reader = ConfigReader(module.config, f"{module.name}/config.json")
    name: Any = module.config.get("activation_function", "torch.nn.modules.activation.Tanh")
    activation = str(name).rpartition(".")[2]
    if activation not in _ACTIVATIONS:
        raise UnsupportedModelError(
            f"{reader.source}: activation_function is {name!r}; it must be one of {', '.join(_ACTIVATIONS)}.",
            param="activation_function",
        )
    out_features = reader.integer("out_features")
    return DenseConfig(f"{module.name}.linear", out_features, reader.flag("bias", True), _ACTIVATIONS[activation])
