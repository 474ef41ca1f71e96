"""Frozen configuration, the only place where a default lives. `resolve` turns "auto" into values.

Every field carries its help text; `settings.py` makes flags, environment variables and TOML keys of them.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from inglenook.cgroups import control_groups
from inglenook.errors import ConfigError, InvalidRequestError
from inglenook.types import RepetitionDetection

DType = Literal["auto", "float32", "float16", "bfloat16", "float", "half"]  # half and float: short names, as in vLLM
KVCacheDType = Literal["auto", "float32", "float16", "bfloat16", "q8"]
Quantization = Literal["q8", "q4"]
LoadFormat = Literal["auto", "gguf", "safetensors", "dummy"]
Device = Literal["auto", "cpu", "torch"]
Isa = Literal["scalar", "avx2", "avx512"]

DEFAULT_MODEL = "smollm2:135m"


def setting(default: Any, help: str, **metadata: Any) -> Any:
    """A dataclass field with its help text. Further metadata that settings.py knows of:

    `minimum`, `maximum`, `choices` bound a number; `is_bytes` allows suffixes (K, M, G, Ki, Mi, Gi);
    `is_secret` keeps the value out of messages.
    """
    return field(default=default, metadata={"help": help, **metadata})


@dataclass(frozen=True)
class RepetitionSettings:
    """A request's repetition_detection."""

    max_pattern_size: int = setting(0, "Tokens that are repeated, at most; 0: nothing is looked for.", minimum=0)
    min_pattern_size: int = setting(0, "Tokens that are repeated, at least.", minimum=0)
    min_count: int = setting(0, "How many times they stand one after the other.", minimum=0)

    def detection(self) -> RepetitionDetection | None:
        """The same as requests have it. Raises ConfigError where nothing, or everything, would be a loop."""
        if self.max_pattern_size == 0:
            return None
        detection = RepetitionDetection(self.max_pattern_size, self.min_pattern_size, self.min_count)
        try:
            detection.validate()
        except InvalidRequestError as error:
            raise ConfigError(error.message, param="repetition_detection") from error
        return detection

    def __str__(self) -> str:
        """As it is written on a command line."""
        import json

        return json.dumps(asdict(self)) if self.max_pattern_size else "off"


@dataclass(frozen=True)
class ModelSettings:
    model: str = setting(
        DEFAULT_MODEL,
        "Model to serve: a catalogue name, a path, or a source such as hf:owner/name, "
        "pypi:package==version/file or dummy:1b. For several models give it several times.",
        is_repeatable=True,
    )
    task: Literal["auto", "generate", "embed", "score", "classify"] = setting(
        "auto",
        "What the model is for: text, vectors, the ranking of pairs or classes; auto is what its files show, embed "
        "takes vectors from a model that generates text, too.",
    )
    served_model_name: tuple[str, ...] = setting((), "Name or names of the model for clients, instead of its own.")
    chat_template: str | None = setting(
        None,
        "Chat template instead of the model's own: a file with Jinja, the name of another one of the model's, or a "
        "built-in name such as chatml, vicuna_v1.1 or zero_shot.",
    )
    trust_request_chat_template: bool = setting(
        False, "Take chat templates that requests bring. They run on this machine, in a sandbox without time limits."
    )
    strict: bool = setting(
        False, "Refuse messages that the chat template doesn't take as they are, instead of adapting them."
    )
    generation_config: Literal["auto", "none"] = setting(
        "auto", "Sampling of requests that leave it open: auto is what the model's makers recommend, none is neutral."
    )
    tool_call_parser: str | None = setting(
        None, "Format of the model's tool calls, such as hermes or mistral; default: what its chat template shows."
    )
    reasoning_parser: str | None = setting(
        None, "Format of the model's thinking, such as deepseek_r1; default: what its chat template shows."
    )
    repair_output: bool = setting(
        False, "Mend the JSON that models write, in requests that don't say; their answers come in one piece."
    )
    repetition_detection: RepetitionSettings = setting(
        RepetitionSettings(),
        "End answers that run in a circle, in requests that don't say, as JSON: max_pattern_size, min_pattern_size, "
        "min_count; or off.",
    )
    enable_auto_tool_choice: bool = setting(
        True, "Without effect: tools need no flag. Accepted since command lines for other servers have it."
    )
    load_format: LoadFormat = setting("auto", "How the weights are stored; dummy gives random weights.")
    dtype: DType = setting("auto", "Format of weights that aren't quantised; auto keeps the checkpoint's.")
    quantization: Quantization | None = setting(None, "Quantise 16- and 32-bit weights while loading.")
    max_model_len: int | None = setting(None, "Context length in tokens; default: the largest that fits.", minimum=1)
    seed: int | None = setting(
        None, "Seed of random weights, and of the seeds drawn for requests that bring none; default: drawn anew."
    )


@dataclass(frozen=True)
class SpeculativeSettings:
    """Names are vLLM's."""

    method: Literal["ngram", "draft_model", "none"] | None = setting(
        None, "Where drafts come from; default: a draft model where one is named, else ngram."
    )
    model: str | None = setting(None, "Draft model: any source, with the vocabulary of the model that it drafts for.")
    num_speculative_tokens: int = setting(15, "Tokens that are drafted for a sequence, at most.", minimum=1, maximum=63)
    prompt_lookup_max: int = setting(16, "Tokens by which the best match is chosen, at most.", minimum=1, maximum=64)
    prompt_lookup_min: int = setting(2, "Tokens that have to match before what followed is copied.", minimum=1)

    def __str__(self) -> str:
        """As it is written on a command line: JSON of what isn't the default; `ngram` where all is."""
        import json

        given = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}
        return json.dumps(given) if given else "ngram"


@dataclass(frozen=True)
class EngineSettings:
    device: Device = setting("auto", "cpu runs the native kernels, torch the readable reference.")
    threads: int | None = setting(None, "Threads that compute; default: the cores that the process may use.", minimum=1)
    isa: Isa | None = setting(None, "Instruction set of the kernels; default: the best that this processor has.")
    max_num_seqs: int = setting(64, "Sequences that are computed in one step, at most.", minimum=1)
    max_num_batched_tokens: int = setting(512, "Tokens that are computed in one step, at most.", minimum=1)
    kv_cache_memory_bytes: int | None = setting(
        None, "Memory for the key-value cache of each model (suffixes K, M, G allowed).", is_bytes=True, minimum=1
    )
    kv_cache_dtype: KVCacheDType = setting(
        "auto",
        "Format of keys and values in the cache; q8 (int8 with a scale per token and head) takes half of 16 bits. "
        "auto: bfloat16, and float32 where all weights are.",
    )
    block_size: int = setting(32, "Tokens in a block of the key-value cache.", choices=(16, 32))
    enable_prefix_caching: bool = setting(
        True, "Reuse the computed blocks of a prompt that begins like an earlier one."
    )
    speculative_config: SpeculativeSettings = setting(
        SpeculativeSettings(),
        "Drafting of tokens that are checked together, as JSON: method (ngram, draft_model, none), model, "
        "num_speculative_tokens, prompt_lookup_max, prompt_lookup_min; or off.",
    )
    gpu_memory_utilization: float | None = setting(
        None,
        "Without effect: memory is planned from what is free. Accepted since command lines for other servers have it.",
        minimum=0,
        maximum=1,
    )
    enforce_eager: bool = setting(
        False, "Without effect: nothing is compiled. Accepted since command lines for other servers have it."
    )
    max_queue: int = setting(1024, "Requests that may wait; further ones are answered 429.", minimum=0)


@dataclass(frozen=True)
class ServerSettings:
    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int = setting(8000, "Port to listen on; 0 takes a free one.", minimum=0, maximum=65535)
    api_key: tuple[str, ...] = setting((), "Key or keys that clients must send.", is_secret=True)
    alias: tuple[str, ...] = setting(
        (), "Further name or names of models, each as NAME=MODEL: gpt-3.5-turbo=smollm2:135m.", is_pairs=True
    )
    any_model: bool = setting(
        False, "Answer requests for unknown models with the first model that does what is asked, instead of 404."
    )
    allowed_origins: tuple[str, ...] = setting(
        (), "Web pages' origins that may use this server from a browser, such as http://localhost:3000; * is any."
    )
    shutdown_grace_s: float = setting(
        10.0, "Seconds that running requests get to end when the server stops.", minimum=0
    )
    usage_details: bool = setting(True, "Nested objects in usage; some clients (AgentScope 0.0) can't take them.")
    max_body_mib: int = setting(64, "Largest request body, MiB.", minimum=1)
    response_store: str | None = setting(
        None,
        "File that keeps responses for requests that go on from them; off keeps none. Default: in the home folder.",
    )
    response_store_days: float = setting(30.0, "Days that a response is kept after its last use.", minimum=0)
    response_store_mib: int = setting(1024, "Size of that file from which the oldest responses go, MiB.", minimum=1)
    log_level: Literal["debug", "info", "warning", "error"] = setting("info", "What is logged.")


@dataclass(frozen=True)
class StoreSettings:
    home: str | None = setting(None, "Folder that keeps fetched models; default: inglenook in the user's cache folder.")


def resolve(engine: EngineSettings) -> EngineSettings:
    """The same settings with `threads` and the method of speculation made concrete.

    What depends on the model, the engine resolves when it loads. Raises ConfigError where settings contradict.
    """
    return replace(
        engine,
        threads=num_usable_cores() if engine.threads is None else engine.threads,
        speculative_config=_resolve_speculation(engine.speculative_config),
    )


def _resolve_speculation(settings: SpeculativeSettings) -> SpeculativeSettings:
    method = settings.method or ("draft_model" if settings.model else "ngram")
    problem = None
    if method == "draft_model" and settings.model is None:
        problem = 'the method draft_model needs a draft model: add "model"'
    elif method != "draft_model" and settings.model is not None:
        problem = f'the method {method} uses no draft model: leave out "model", or the method'
    elif settings.prompt_lookup_min > settings.prompt_lookup_max:
        problem = f"prompt_lookup_min is {settings.prompt_lookup_min}, above prompt_lookup_max"
    if problem is not None:
        raise ConfigError(f"speculative_config: {problem}.", param="speculative_config")
    return replace(settings, method=method)


def num_usable_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: those it may run on, or fewer where a cgroup's CPU quota allows less."""
    affinity = getattr(os, "sched_getaffinity", None)
    num_cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quotas = (_read_quota(folder) for folder, _ in control_groups(root, "cpu"))
    return max(1, int(min([float(num_cores), *(quota for quota in quotas if quota is not None)])))


def _read_quota(folder: Path) -> float | None:
    """CPU quota of a control group in cores; None where it has none."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    is_limited = quota.isdigit() and period.isdigit() and int(period) > 0
    return int(quota) / int(period) if is_limited else None
