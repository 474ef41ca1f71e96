"""The JSON objects of the llama.cpp server's own routes, in its key order. UNSET keys are left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from inglenook.dialects.openai.wire import TimingsBody

StopType = Literal["none", "eos", "limit", "word"]


class ErrorDetail(Struct):
    code: int  # the status
    message: str
    type: str


class ErrorBody(Struct):
    error: ErrorDetail


class TopProbability(Struct):
    id: int
    token: str
    bytes: list[int]
    logprob: float


class TokenProbability(Struct):
    id: int
    token: str
    bytes: list[int]
    logprob: float
    top_logprobs: list[TopProbability]


class TokenBias(Struct):
    bias: float
    token: int | str  # where the client gave a text, that


class Settings(Struct):
    """What a request is answered with. Samplers that this server doesn't have are shown as off."""

    seed: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    repeat_last_n: int
    repeat_penalty: float
    presence_penalty: float
    frequency_penalty: float
    stop: Sequence[str]
    max_tokens: int
    n_predict: int
    ignore_eos: bool
    stream: bool
    logit_bias: list[TokenBias]
    n_probs: int
    grammar: str
    samplers: Sequence[str]
    timings_per_token: bool
    n_ctx: int
    model: str
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    top_n_sigma: float = -1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    dry_sequence_breakers: Sequence[str] = ("\n", ":", '"', "*")
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    n_keep: int = 0
    n_discard: int = 0
    min_keep: int = 0
    post_sampling_probs: bool = False
    lora: Sequence[None] = ()


class Completion(Struct):
    """A whole answer, and the last event of a stream."""

    index: int  # of the prompt
    content: str
    tokens: Sequence[int]
    id_slot: int
    stop: bool  # true
    model: str
    tokens_predicted: int
    tokens_evaluated: int  # those of the prompt
    generation_settings: Settings
    prompt: str
    has_new_line: bool
    truncated: bool
    stop_type: StopType
    stopping_word: str
    tokens_cached: int  # of the prompt, from the cache
    timings: TimingsBody
    completion_probabilities: list[TokenProbability] | UnsetType = UNSET


class Piece(Struct):
    """An event of a stream but the last."""

    index: int
    content: str
    tokens: Sequence[int]
    stop: bool  # false
    id_slot: int
    tokens_predicted: int
    tokens_evaluated: int
    timings: TimingsBody | UnsetType = UNSET
    completion_probabilities: list[TokenProbability] | UnsetType = UNSET


class DefaultSettings(Struct):
    params: Settings
    n_ctx: int


class Modalities(Struct):
    vision: bool = False
    audio: bool = False


class Props(Struct):
    default_generation_settings: DefaultSettings
    total_slots: int
    model_alias: str
    model_path: str  # the name under which it was loaded
    modalities: Modalities
    endpoint_slots: bool
    endpoint_props: bool
    endpoint_metrics: bool
    webui: bool
    chat_template: str
    bos_token: str
    eos_token: str
    build_info: str
    is_sleeping: bool


class Slot(Struct):
    id: int
    n_ctx: int
    speculative: bool
    is_processing: bool


class Adapter(Struct):
    id: int
    path: str
    scale: float
