"""One request while it is in the engine: its tokens so far, and what of them is computed and where."""

from __future__ import annotations

import math
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inglenook.engine.guide import Guide
from inglenook.engine.kv_cache import block_hash, root_hash
from inglenook.engine.repetition import RepetitionWatch, watch_repetition
from inglenook.engine.request import EngineRequest, ScoredToken
from inglenook.errors import EngineError
from inglenook.types import FinishReason

if TYPE_CHECKING:
    from inglenook.ops.sampling import SamplerState


@dataclass(eq=False, slots=True)
class Sequence:
    """State of one request. The scheduler changes it; `sampler` is the model runner's.

    The keys and values of token_ids[:num_computed_tokens] are in the cache, in `block_ids`. `row` is its row of the
    block tables; it has one exactly while it is running.
    """

    request: EngineRequest
    rank: tuple[int, int]  # priority, arrival: who goes first
    max_num_tokens: int  # prompt and output together; reaching it ends the request
    stop_token_ids: frozenset[int]
    token_ids: list[int]  # prompt, then output
    num_computed_tokens: int = 0
    num_cached_tokens: int | None = None  # of the prompt, supplied by the cache; set when it first starts
    block_ids: list[int] = field(default_factory=list)
    block_hashes: list[bytes] = field(default_factory=list)
    num_committed_blocks: int = 0
    row: int | None = None
    finish_reason: FinishReason | None = None
    stop_token_id: int | None = None
    is_loop: bool = False  # why it has ended
    repetition: RepetitionWatch | None = None
    deadline: float = math.inf  # time.monotonic() at which it ends, whatever it has
    has_output: bool = False  # its first output has left the engine
    is_decoding: bool = False  # what isn't computed of it is the last sampled token, and what its guide forces behind
    sampler: SamplerState | None = None
    guide: Guide | None = None  # None: any token may follow any other
    failure: EngineError | None = None  # of its guide or its prompt's logits: it ends the request
    num_to_score: int = 0  # the first rows of the prompt, whose logits are wanted: they say what comes behind each
    prompt_scores: list[ScoredToken] = field(default_factory=list)  # of those rows, as far as they are computed
    forced: list[int] = field(default_factory=list)  # what must come next and isn't among token_ids: see guided.py
    held: list[int] = field(default_factory=list)  # output tokens that go out with the first sampled one

    @property
    def num_uncomputed_tokens(self) -> int:
        return len(self.token_ids) - self.num_computed_tokens

    @property
    def is_scoring(self) -> bool:
        return len(self.prompt_scores) < self.num_to_score

    def append(self, tokens: SequenceOf[int]) -> int:
        """Add tokens up to the one that ends the request, and how many that were."""
        for count, token_id in enumerate(tokens, 1):
            self.token_ids.append(token_id)
            if token_id in self.stop_token_ids:
                self.finish_reason = "stop"
                self.stop_token_id = token_id
                return count
            if len(self.token_ids) >= self.max_num_tokens:
                self.finish_reason = "length"
                return count
            if self.repetition is not None and self._repeats(token_id):
                return count
        return len(tokens)

    def _repeats(self, token_id: int) -> bool:
        assert self.repetition is not None
        num_output = len(self.token_ids) - len(self.request.prompt_token_ids)
        self.is_loop = self.repetition.sees(token_id) and num_output >= self.request.sampling.min_tokens
        if self.is_loop:
            self.finish_reason = "stop"
        return self.is_loop

    def keep_prompt_only(self) -> None:
        """What follows it is known to its end; only the prompt's log-probabilities aren't."""
        del self.token_ids[len(self.request.prompt_token_ids) :]
        self.max_num_tokens = len(self.token_ids)
        self.guide = None

    def hash_full_blocks(self, block_size: int) -> list[bytes]:
        """The hashes of all full blocks of token_ids; each is computed once."""
        hashes = self.block_hashes
        for start in range(len(hashes) * block_size, len(self.token_ids) - block_size + 1, block_size):
            hashes.append(block_hash(self.parent_hash(len(hashes)), self.token_ids[start : start + block_size]))
        return hashes

    def parent_hash(self, index: int) -> bytes:
        """What the hash of block `index` is chained to; those before it are full and hashed."""
        return self.block_hashes[index - 1] if index > 0 else root_hash(self.request.cache_salt)


def make_sequence(request: EngineRequest, arrival: int, context_length: int) -> Sequence:
    sampling = request.sampling
    num_prompt_tokens = len(request.prompt_token_ids)
    limit = context_length if sampling.max_tokens is None else num_prompt_tokens + sampling.max_tokens
    eos = frozenset() if sampling.ignore_eos else request.eos_token_ids
    return Sequence(
        request=request,
        rank=(request.priority, arrival),
        max_num_tokens=min(limit, context_length),
        stop_token_ids=eos | frozenset(sampling.stop_token_ids),
        token_ids=list(request.prompt_token_ids),
        repetition=watch_repetition(sampling.repetition_detection),
        num_to_score=0 if sampling.prompt_logprobs is None else num_prompt_tokens - 1,
        deadline=math.inf if sampling.max_time_s is None else request.received + sampling.max_time_s,
    )
