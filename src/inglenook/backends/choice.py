"""One choice of an answer: the engine's tokens become deltas of text."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

from inglenook.backends.answer_text import AnswerText
from inglenook.engine.request import EngineOutput, SampledToken, ScoredToken
from inglenook.text.detokenizer import Detokenizer
from inglenook.text.lines import LineLimits
from inglenook.text.output import OutputParser, ParsedText
from inglenook.text.stream import TextPiece, TextStream
from inglenook.text.tokenizer import Tokenizer
from inglenook.types import AnsweredPrompt, Delta, FinishReason, SamplingParams, TokenLogprob

REPETITION_DETECTED = "repetition_detected"  # vLLM's word for it, as stop_reason


class Choice:
    """Text held back keeps its tokens and log-probabilities with it, so that none is lost.

    `parser` splits off thinking and calls; `kept_ids` are special tokens that it reads, and that show for it.
    A token that ends the answer (end of text, a stop token) is left out of text and log-probabilities unless
    sampling.include_stop_str_in_output, but counts as generated. `echoed` is the prompt's text where the answer begins
    with it once its log-probabilities are known, and `has_echoed_logprobs` whether it tells them, too.
    """

    def __init__(
        self,
        index: int,
        tokenizer: Tokenizer,
        sampling: SamplingParams,
        *,
        prompt: AnsweredPrompt = AnsweredPrompt(()),  # noqa: B008
        echoed: str | None = None,
        has_echoed_logprobs: bool = False,
        is_continuation: bool,
        parser: OutputParser | None = None,
        kept_ids: frozenset[int] = frozenset(),
    ) -> None:
        self.index = index
        self.num_tokens = 0
        self.num_cached_tokens = 0
        self.is_finished = False
        self._prompt: AnsweredPrompt | None = prompt  # None: the first delta has said it
        self._echoed = echoed
        self._has_echoed_logprobs = has_echoed_logprobs
        self._sum_logprob = 0.0
        self._tokenizer = tokenizer
        self._sampling = sampling
        detokenizer = Detokenizer(
            tokenizer,
            skip_special_tokens=sampling.skip_special_tokens,
            is_continuation=is_continuation,
            kept_ids=kept_ids,
        )
        self._stream = TextStream(
            detokenizer, sampling.stop, sampling.include_stop_str_in_output, min_tokens=sampling.min_tokens
        )
        has_limits = sampling.min_indent > 0 or sampling.max_lines_s is not None
        self._lines = LineLimits(sampling.min_indent, sampling.max_lines_s) if has_limits else None
        self._answer = AnswerText(parser)
        self._uncounted: deque[SampledToken] = deque()  # tokens whose text isn't out yet
        self._end_ids: tuple[int, ...] = ()  # of the token that ended it, where it doesn't show

    @property
    def num_reasoning_tokens(self) -> int:
        """Of num_tokens, those of thoughts and of the marks around them."""
        return self._answer.thinking.num_tokens

    def echo(self, text: str) -> Delta:
        """The prompt's text as the first piece of the answer."""
        return Delta(self.index, text, prompt=self._take_prompt())

    def take(self, output: EngineOutput) -> Delta | None:
        """What an output adds; None where all of it is held back. Sets is_finished with the last one."""
        self.num_cached_tokens = max(self.num_cached_tokens, output.num_cached_tokens)
        if output.prompt_scores is not None and self._prompt is not None:
            self._prompt = replace(self._prompt, logprobs=(None, *map(self._scored, output.prompt_scores)))
        if self._lines is not None and output.tokens:
            self._lines.start()
        for position, token in enumerate(output.tokens):
            self.num_tokens += 1
            self._sum_logprob += token.logprob or 0.0
            is_last = position == len(output.tokens) - 1
            if is_last and output.stop_token_id is not None and not self._sampling.include_stop_str_in_output:
                self._end_ids = (token.token_id,)
                break
            self._uncounted.append(token)
            piece = self._stream.push(token.token_id)
            if piece is None:
                continue
            if self._push(piece):
                return self._finish("length", None)
            if piece.stop_reason is not None:
                return self._finish("stop", piece.stop_reason)
        if output.finish_reason is None:
            released = self._answer.release()
            return None if released is None else self._delta(*released)
        rest = self._stream.flush()
        if self._push(rest):
            return self._finish("length", None)
        if rest.stop_reason is not None:
            return self._finish("stop", rest.stop_reason)
        stop_reason: str | int | None = None
        if output.is_loop:
            stop_reason = REPETITION_DETECTED
        elif output.stop_token_id in self._sampling.stop_token_ids:
            stop_reason = output.stop_token_id
        return self._finish(output.finish_reason, stop_reason)

    def _push(self, piece: TextPiece) -> bool:
        """Whether the answer has all the lines that it may have."""
        text = piece.text if self._lines is None else self._lines.take(piece.text)
        self._answer.push(text, self._count(piece.num_tokens))
        return self._lines is not None and self._lines.is_over

    def _count(self, num_tokens: int) -> list[SampledToken]:
        return [self._uncounted.popleft() for _ in range(num_tokens)]

    def _finish(self, reason: FinishReason, stop_reason: str | int | None) -> Delta:
        self.is_finished = True
        parsed, tokens = self._answer.finish()
        if reason == "stop" and self._answer.has_whole_calls:
            reason = "tool_calls"
        hidden_ids = (*(token.token_id for token in self._uncounted), *self._end_ids)
        has_mean = self._sampling.logprobs is not None and self.num_tokens > 0
        mean_logprob = self._sum_logprob / self.num_tokens if has_mean else None
        last = self._delta(parsed, tokens, reason, stop_reason)
        return replace(last, hidden_ids=hidden_ids, mean_logprob=mean_logprob)

    def _delta(
        self,
        parsed: ParsedText,
        tokens: list[SampledToken],
        finish_reason: FinishReason | None = None,
        stop_reason: str | int | None = None,
    ) -> Delta:
        logprobs = tuple(self._logprob(token) for token in tokens) if self._sampling.logprobs is not None else ()
        text = parsed.content
        if self._echoed is not None:
            logprobs = self._echoed_logprobs() + logprobs if self._has_echoed_logprobs else logprobs
            text, self._echoed = self._echoed + text, None
        return Delta(
            self.index,
            text,
            tuple(token.token_id for token in tokens),
            logprobs,
            finish_reason,
            stop_reason,
            reasoning=parsed.reasoning,
            tool_calls=parsed.tool_calls,
            prompt=self._take_prompt(),
        )

    def _take_prompt(self) -> AnsweredPrompt | None:
        prompt, self._prompt = self._prompt, None
        return None if prompt is None else replace(prompt, num_cached_tokens=self.num_cached_tokens)

    def _echoed_logprobs(self) -> tuple[TokenLogprob, ...]:
        """Of the whole prompt: what isn't known of it (of the first token nothing is) is NaN."""
        assert self._prompt is not None, "the first delta echoes"
        known = self._prompt.logprobs or (None,) * len(self._prompt.token_ids)
        num_top = self._sampling.logprobs
        return tuple(
            self._entry(token_id, math.nan) if entry is None else replace(entry, top=entry.top[:num_top])
            for token_id, entry in zip(self._prompt.token_ids, known, strict=True)
        )

    def _scored(self, token: ScoredToken) -> TokenLogprob:
        top = tuple(replace(self._entry(*entry), rank=rank) for rank, entry in enumerate(token.top, 1))
        return replace(self._entry(token.token_id, token.logprob, top), rank=token.rank)

    def _logprob(self, token: SampledToken) -> TokenLogprob:
        assert token.logprob is not None
        top = tuple(self._entry(token_id, logprob) for token_id, logprob in token.top)
        return self._entry(token.token_id, token.logprob, top)

    def _entry(self, token_id: int, logprob: float, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        data = self._tokenizer.token_bytes(token_id)
        is_special = token_id in self._tokenizer.special_ids
        return TokenLogprob(token_id, data.decode(errors="replace"), data, logprob, top, is_special)
