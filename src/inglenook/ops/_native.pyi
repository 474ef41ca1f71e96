"""Types of the extension module built from native/src; what each thing means stands there."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_View = tuple[int, int, int]  # buffer, first column, width
_Ints = npt.NDArray[np.int32]
_Floats = npt.NDArray[np.float32]

# --- bindings_tape.cpp ---

def available_isas() -> list[str]: ...
def tape_memory(
    program: Program,
    num_blocks: int,
    block_size: int,
    cache_kind: int,
    max_num_tokens: int,
    max_num_selected: int,
    threads: int,
) -> tuple[int, int, int]: ...

class Program:
    num_weights: int
    vocabulary: int
    max_positions: int
    num_token_types: int
    needs_whole_sequences: bool
    def __init__(self) -> None: ...
    def buffer(self, width: int, is_selected: bool) -> int: ...
    def rope_table(self, frequencies: list[float], scale: float, is_interleaved: bool) -> int: ...
    def embed(self, out: _View, weight: int, index: int, first_row: int) -> None: ...
    def linear(self, out: _View, x: _View, weights: list[int], biases: list[int]) -> None: ...
    def rms_norm(self, out: _View, x: _View, weight: int, eps: float) -> None: ...
    def layer_norm(self, out: _View, x: _View, weight: int, bias: int, eps: float) -> None: ...
    def rope(self, x: _View, head_dim: int, table: int) -> None: ...
    def attention(
        self,
        out: _View,
        q: _View,
        k: _View,
        v: _View,
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        scale: float,
        sliding_window: int,
        softcap: float,
        cache: int,
        is_causal: bool,
    ) -> None: ...
    def act_mul(self, out: _View, gate: _View, up: _View, activation: int) -> None: ...
    def act(self, out: _View, x: _View, activation: int) -> None: ...
    def add(self, out: _View, x: _View, y: _View) -> None: ...
    def scale(self, out: _View, x: _View, factor: float) -> None: ...
    def softcap(self, out: _View, x: _View, cap: float) -> None: ...
    def select_rows(self, out: _View, x: _View) -> None: ...
    def pool(self, out: _View, x: _View, mode: int) -> None: ...
    def set_output(self, x: _View) -> None: ...

class Tape:
    def __init__(
        self,
        program: Program,
        *,
        num_blocks: int,
        block_size: int,
        cache_kind: int,
        max_num_tokens: int,
        max_num_selected: int,
        threads: int,
        isa: str,
        pool: ThreadPool | None = None,
    ) -> None: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def pool(self) -> ThreadPool: ...
    def set_matrix(self, slot: int, weight: PackedWeight) -> None: ...
    def set_vector(self, slot: int, values: _Floats) -> None: ...
    def finish(self) -> None: ...
    def run(
        self,
        token_ids: _Ints,
        positions: _Ints,
        slot_mapping: _Ints,
        query_starts: _Ints,
        context_lengths: _Ints,
        block_tables: _Ints,
        selected_rows: _Ints,
        token_type_ids: _Ints | None = None,
    ) -> _Floats: ...
    def copy_blocks(self, copies: Sequence[tuple[int, int]]) -> None: ...
    def close(self) -> None: ...
    def start_profile(self) -> None: ...
    def stages(self) -> list[tuple[list[str], list[int]]]: ...
    def stage_seconds(self) -> dict[int, tuple[int, list[float]]]: ...

# --- bindings_step.cpp ---

def lay_out_step(
    token_ids: list[int],
    rows: list[int],
    starts: list[int],
    counts: list[int],
    num_selected: list[int],
    block_tables: _Ints,
    block_size: int,
) -> tuple[_Ints, int, int]: ...

# --- bindings_packing.cpp ---

class PackedWeight:
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def format(self) -> str: ...
    @property
    def nbytes(self) -> int: ...
    def unpack(self) -> _Floats: ...
    def linear(self, x: _Floats, bias: _Floats | None = None, y: _Floats | None = None, *, isa: str) -> _Floats: ...
    def embed_row(self, index: int, isa: str) -> _Floats: ...

class WeightStore:
    def __init__(self, threads: int) -> None: ...
    def pack(
        self, data: npt.NDArray[np.uint8], encoding: str, format: str, out_features: int, in_features: int
    ) -> PackedWeight: ...
    @property
    def nbytes(self) -> int: ...

def probe_read(threads: int, bytes: int, seconds: float) -> float: ...
def probe_int8(threads: int, isa: str, seconds: float) -> float: ...
def probe_bf16(threads: int, isa: str, seconds: float) -> float: ...

# --- bindings_sampler.cpp ---

class ThreadPool:
    def __init__(self, threads: int) -> None: ...
    def close(self) -> None: ...

class SamplerState:
    def __init__(
        self,
        *,
        temperature: float,
        top_p: float,
        top_k: int,
        min_p: float,
        typical_p: float,
        repetition_penalty: float,
        presence_penalty: float,
        frequency_penalty: float,
        min_tokens: int,
        num_logprobs: int,
        logit_bias: list[tuple[int, float]],
        stop_token_ids: list[int],
        allowed: list[int],
        banned: list[list[int]],
        seed: int,
        prompt: list[int],
    ) -> None: ...
    def advance(self, token: int) -> None: ...
    @property
    def num_output(self) -> int: ...

def sample(
    logits: _Floats,
    states: list[SamplerState],
    mask: npt.NDArray[np.uint32] | None,
    mask_rows: list[int],
    pool: ThreadPool | None,
) -> tuple[list[int], list[float | None], list[tuple[tuple[int, float], ...]]]: ...
def sample_runs(
    logits: _Floats,
    states: list[SamplerState],
    drafts: list[list[int]],
    mask: npt.NDArray[np.uint32] | None,
    mask_rows: list[int],
    pool: ThreadPool | None,
) -> list[list[tuple[int, float | None, tuple[tuple[int, float], ...]]] | str]: ...
def score(
    logits: _Floats, rows: list[int], tokens: list[int], num_top: list[int], pool: ThreadPool | None
) -> list[tuple[float, int, tuple[tuple[int, float], ...]] | None]: ...
def uniform(seed: int, position: int) -> float: ...
