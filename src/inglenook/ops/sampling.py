"""Chooses tokens from logits: the Python face of native/src/sampler.cpp.

Order: logit bias, bans, penalties, temperature, min-p, top-k, top-p, typical-p, then a draw. Each request has a
random stream of its own (Philox4x32-10, Salmon et al. 2011; key: the seed, counter: the number of tokens put out), so
that what it draws depends on no other request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inglenook.errors import EngineError, InvalidRequestError
from inglenook.ops import _native
from inglenook.ops._native import ThreadPool as ThreadPool
from inglenook.types import SamplingParams


class SamplerState:
    """What one request's next choice depends on besides the logits: parameters, tokens so far, place in its stream.

    `stop_token_ids` can't be chosen before params.min_tokens tokens are out, nor the last token of one of `banned`
    behind its others, unless nothing else is left. A mask wins over params.allowed_token_ids in the same way.
    `seed` is a signed 64-bit integer. A temperature below 1e-5 is greedy: the largest logit, of equal ones the lowest
    id. Raises InvalidRequestError where logit_bias or allowed_token_ids name a token that isn't in the vocabulary.
    """

    def __init__(
        self,
        params: SamplingParams,
        *,
        vocab_size: int,
        seed: int,
        prompt_token_ids: Sequence[int],
        stop_token_ids: frozenset[int],
        banned: Sequence[Sequence[int]] = (),
    ) -> None:
        _check_ids("logit_bias", params.logit_bias, vocab_size)
        _check_ids("allowed_token_ids", params.allowed_token_ids or (), vocab_size)
        assert all(0 <= token_id < vocab_size for token_id in prompt_token_ids)
        self.native = _native.SamplerState(
            temperature=params.temperature,
            top_p=params.top_p,
            top_k=min(max(params.top_k, 0), vocab_size),
            min_p=params.min_p,
            typical_p=params.typical_p,
            repetition_penalty=params.repetition_penalty,
            presence_penalty=params.presence_penalty,
            frequency_penalty=params.frequency_penalty,
            min_tokens=params.min_tokens,
            num_logprobs=-1 if params.logprobs is None else params.logprobs,
            logit_bias=list(params.logit_bias.items()),
            stop_token_ids=[token_id for token_id in stop_token_ids if 0 <= token_id < vocab_size],
            allowed=[] if params.allowed_token_ids is None else _mask_words(params.allowed_token_ids, vocab_size),
            banned=[list(tokens) for tokens in banned if all(0 <= token_id < vocab_size for token_id in tokens)],
            seed=seed % 2**64,
            prompt=list(prompt_token_ids) if params.repetition_penalty != 1.0 else [],
        )

    @property
    def num_output(self) -> int:
        """Tokens chosen or appended so far."""
        return self.native.num_output

    def append(self, token_ids: Sequence[int]) -> None:
        """Take in tokens that follow without being chosen: as if each had been the only one allowed."""
        for token_id in token_ids:
            self.native.advance(token_id)


def _check_ids(name: str, token_ids: Iterable[int], vocab_size: int) -> None:
    for token_id in token_ids:
        if not 0 <= token_id < vocab_size:
            raise InvalidRequestError(
                f"{name} names the token {token_id}; the vocabulary has the tokens 0 to {vocab_size - 1}.", param=name
            )


def _mask_words(token_ids: Iterable[int], vocab_size: int) -> list[int]:
    bits = np.zeros(-(-vocab_size // 32) * 32, np.uint8)
    bits[list(token_ids)] = 1
    words: list[int] = np.packbits(bits, bitorder="little").view(np.uint32).tolist()
    return words


class SampleResult(NamedTuple):
    """One entry a row. `logprobs` is None, and `top` empty, for rows whose parameters don't ask for them.

    Log-probabilities are those of the untouched logits, no lower than -9999; `top` is likeliest first.
    """

    token_ids: list[int]
    logprobs: list[float | None]
    top: list[tuple[tuple[int, float], ...]]


def sample(
    logits: npt.NDArray[np.float32],
    states: Sequence[SamplerState],
    pool: ThreadPool | None = None,
    *,
    mask: npt.NDArray[np.uint32] | None = None,
    mask_rows: Sequence[int] | None = None,
) -> SampleResult:
    """Choose a token for every row of logits, [rows, vocabulary], and advance its state.

    Rows are shared out over the threads of `pool`, which nobody else may use meanwhile.
    `mask`, [rows, ceil(vocabulary / 32)], has bit i of word j set where token 32 * j + i is allowed. With `mask_rows`
    it has fewer rows: row i of the logits follows mask[mask_rows[i]], or none where that is -1.
    Raises EngineError where a row holds NaN or infinity, or no token is allowed; then no state has advanced.
    """
    try:
        rows = _mask_rows(logits, mask, mask_rows)
        return SampleResult(*_native.sample(logits, [state.native for state in states], mask, rows, pool))
    except ValueError as error:
        raise EngineError(f"No token could be chosen: {error}.") from error


Run = list[tuple[int, float | None, tuple[tuple[int, float], ...]]]  # token id, log-probability, top; as SampleResult


def sample_runs(
    logits: npt.NDArray[np.float32],
    states: Sequence[SamplerState],
    drafts: Sequence[Sequence[int]],
    pool: ThreadPool | None = None,
    *,
    mask: npt.NDArray[np.uint32] | None = None,
    mask_rows: Sequence[int] | None = None,
) -> list[Run | EngineError]:
    """Choose the next tokens of sequences whose drafts were computed along: 1 + (its drafts) rows of each.

    Tokens are chosen, and the state advanced, while they are what the draft says, and once more: exactly what `sample`
    gives with a step for each token. An error, as `sample` raises it, is that of one sequence. Masks are as there.
    """
    rows = _mask_rows(logits, mask, mask_rows)
    runs = _native.sample_runs(logits, [state.native for state in states], list(map(list, drafts)), mask, rows, pool)
    return [EngineError(f"No token could be chosen: {run}.") if isinstance(run, str) else run for run in runs]


def _mask_rows(
    logits: npt.NDArray[np.float32], mask: npt.NDArray[np.uint32] | None, mask_rows: Sequence[int] | None
) -> list[int]:
    if mask is None:
        return []
    if mask_rows is not None:
        return list(mask_rows)
    if len(mask) != len(logits):
        raise ValueError("the mask must be [rows, ceil(vocabulary / 32)]")
    return list(range(len(logits)))
