"""Frozen configuration, the only place where a default lives. `resolve` turns "auto" into values.

Every field carries its help text; `settings.py` makes flags, environment variables and TOML keys of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

DType = Literal["auto", "float32", "float16", "bfloat16"]
KVCacheDType = Literal["auto", "float32", "float16"]
Quantization = Literal["q8", "q4"]
LoadFormat = Literal["auto", "gguf", "safetensors", "dummy"]
Device = Literal["auto", "cpu", "torch"]

DEFAULT_MODEL = "smollm2:135m"


def setting(default: Any, help: str, **metadata: Any) -> Any:
    """A dataclass field with its help text. `flag` overrides the generated name of the flag."""
    return field(default=default, metadata={"help": help, **metadata})


@dataclass(frozen=True)
class ModelSettings:
    model: str = setting(
        DEFAULT_MODEL,
        "Model to serve: a catalogue name, a path, or a source such as hf:owner/name, "
        "pypi:package==version/file or dummy:1b.",
    )
    served_model_name: tuple[str, ...] = setting((), "Name or names under which clients ask for the model.")
    chat_template: str | None = setting(None, "File with a Jinja chat template, instead of the model's own.")
    load_format: LoadFormat = setting("auto", "How the weights are stored; dummy gives random weights.")
    dtype: DType = setting("auto", "Format of weights that aren't quantised; auto keeps the checkpoint's.")
    quantization: Quantization | None = setting(None, "Quantise 16- and 32-bit weights while loading.")
    max_model_len: int | None = setting(None, "Context length in tokens; default: the largest that fits.")
    seed: int = setting(0, "Seed for random weights and for requests that bring none.")


@dataclass(frozen=True)
class EngineSettings:
    device: Device = setting("auto", "cpu runs the native kernels, torch the readable reference.")
    threads: int | None = setting(None, "Threads that compute; default: the cores that the process may use.")
    max_num_seqs: int = setting(64, "Sequences that are computed in one step, at most.")
    max_num_batched_tokens: int = setting(512, "Tokens that are computed in one step, at most.")
    kv_cache_memory_bytes: int | None = setting(
        None, "Memory for the key-value cache (suffixes K, M, G allowed).", is_bytes=True
    )
    kv_cache_dtype: KVCacheDType = setting("auto", "Format of keys and values in the cache.")
    block_size: int = setting(32, "Tokens in a block of the key-value cache: 16 or 32.")
    enable_prefix_caching: bool = setting(
        True, "Reuse the computed blocks of a prompt that begins like an earlier one."
    )
    max_queue: int = setting(1024, "Requests that may wait; further ones are answered 429.")


@dataclass(frozen=True)
class ServerSettings:
    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int = setting(8000, "Port to listen on.")
    api_key: tuple[str, ...] = setting((), "Key or keys that clients must send.", is_secret=True)
    shutdown_grace_s: float = setting(10.0, "Seconds that running requests get to end when the server stops.")
    max_body_mib: int = setting(64, "Largest request body, MiB.")
    log_level: Literal["debug", "info", "warning", "error"] = setting("info", "What is logged.")
