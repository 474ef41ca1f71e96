"""Our own engine as a back end: text and JSON stop here, below it there are only token ids."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from inglenook.backends.base import BackendStats
from inglenook.backends.best_of import choose_best
from inglenook.backends.choice import Choice
from inglenook.backends.choices import usage, with_shared_scores
from inglenook.backends.generation_config import GenerationConfig
from inglenook.backends.off_loop import INLINE_CHARACTERS, inline_or_thread
from inglenook.backends.prepare import Preparer, needs_guide
from inglenook.backends.rendering import num_characters
from inglenook.config import ModelSettings
from inglenook.text.chat_template import ChatTemplate
from inglenook.text.tokenizer import Tokenizer
from inglenook.types import (
    AnsweredPrompt,
    ChatRequest,
    CompletionRequest,
    Delta,
    GenerateRequest,
    ModelCard,
    ModelDetails,
    RenderedPrompt,
)

if TYPE_CHECKING:
    from inglenook.engine.async_engine import AsyncEngine


class LocalBackend:
    """One model on our engine, under one or several names. `engine` and `preparer` are for benchmarks."""

    def __init__(
        self,
        engine: AsyncEngine,
        tokenizer: Tokenizer,
        template: ChatTemplate | None,
        *,
        names: Sequence[str],
        max_model_len: int,
        generation: GenerationConfig,
        root: str,
        settings: ModelSettings = ModelSettings(),  # noqa: B008
        vocab_size: int | None = None,  # of the logits; None: the tokenizer's
        max_requests: int = 1,
        max_running: int = 1,
        details: ModelDetails = ModelDetails(),  # noqa: B008
    ) -> None:
        self.engine = engine
        self.generation = generation
        self.preparer = Preparer(
            tokenizer, template, generation, max_model_len, settings, vocab_size=vocab_size or tokenizer.vocab_size
        )
        self._tokenizer = tokenizer
        created = int(time.time())
        details = replace(
            details,
            template=template.source if template is not None else "",
            sampling=generation.sampling,
            is_thinking=self.preparer.formats.reasoning is not None,
            fills_middle=self.preparer.fills_middle,
            special_tokens=tokenizer.special_tokens,
        )
        self._cards = [
            ModelCard(
                name,
                created,
                max_model_len,
                root,
                max_requests=max_requests,
                max_running=max_running,
                details=details,
            )
            for name in names
        ]

    def models(self) -> list[ModelCard]:
        return self._cards

    def is_healthy(self) -> bool:
        return self.engine.is_healthy

    def stats(self) -> BackendStats:
        stats = self.engine.stats()
        return BackendStats(
            gauges={
                "num_requests_running": stats.num_running,
                "num_requests_waiting": stats.num_waiting,
                "kv_cache_usage_perc": stats.kv_cache_usage,
            },
            counters={
                "prompt_tokens_total": stats.num_prompt_tokens,
                "generation_tokens_total": stats.num_generation_tokens,
                "prefix_cache_queries_total": stats.num_prefix_query_tokens,
                "prefix_cache_hits_total": stats.num_prefix_hit_tokens,
                "num_preemptions_total": stats.num_preemptions,
                "engine_steps_total": stats.num_steps,
                "spec_decode_num_drafts_total": stats.num_drafts,
                "spec_decode_num_draft_tokens_total": stats.num_draft_tokens,
                "spec_decode_num_accepted_tokens_total": stats.num_accepted_tokens,
            },
        )

    async def close(self) -> None:
        await asyncio.to_thread(self.engine.stop)

    # --- answers --------------------------------------------------------------------------------------

    def chat(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        return self._answer(request, is_continuation=request.continue_final_message)

    def complete(self, request: CompletionRequest) -> AsyncGenerator[Delta, None]:
        if request.best_of not in (None, request.num_choices):
            return choose_best(self.complete, request)
        return self._answer(request, is_continuation=True)

    async def render(
        self, request: ChatRequest | CompletionRequest, *, with_tokens: bool = False
    ) -> list[RenderedPrompt]:
        is_long = num_characters(request) > INLINE_CHARACTERS
        return await inline_or_thread(is_long, lambda: self.preparer.render(request, with_tokens=with_tokens))

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        return await inline_or_thread(
            len(token_ids) > INLINE_CHARACTERS, lambda: self._tokenizer.decode(token_ids, skip_special_tokens=False)
        )

    async def _answer(
        self, request: ChatRequest | CompletionRequest, *, is_continuation: bool
    ) -> AsyncGenerator[Delta, None]:
        """The deltas of every choice as they come."""
        is_long = num_characters(request) > INLINE_CHARACTERS or needs_guide(request)
        prepared = await inline_or_thread(is_long, lambda: self.preparer.prepare(request))
        prompts = [self._answered(request, tuple(prompt)) for prompt in prepared.prompts]
        has_scores = any(r.sampling.prompt_logprobs is not None for r in prepared.engine_requests)
        choices = [
            Choice(
                index,
                self._tokenizer,
                r.sampling,
                prompt=prompts[index // request.num_choices],
                echoed=prepared.echoed[index // request.num_choices] if prepared.echoed and has_scores else None,
                has_echoed_logprobs=isinstance(request, CompletionRequest) and request.sampling.logprobs is not None,
                is_continuation=is_continuation,
                parser=prepared.form.make_parser(),
                kept_ids=prepared.form.kept_ids,
            )
            for index, r in enumerate(prepared.engine_requests)
        ]
        open_choices = {r.request_id: c for r, c in zip(prepared.engine_requests, choices, strict=True)}
        warnings = prepared.warnings
        if prepared.echoed is not None and not has_scores:
            for choice in choices:
                yield replace(choice.echo(prepared.echoed[choice.index // request.num_choices]), warnings=warnings)
                warnings = ()
        generated = self.engine.generate(*prepared.engine_requests)
        if has_scores and request.num_choices > 1:
            generated = with_shared_scores(generated, prepared.engine_requests, request.num_choices)
        async with aclosing(generated) as outputs:
            async for output in outputs:
                if output.request_id not in open_choices:
                    continue  # its stop string came before
                choice = open_choices[output.request_id]
                delta = choice.take(output)
                if delta is None:
                    continue
                total = None
                if choice.is_finished:
                    del open_choices[output.request_id]
                    self.engine.cancel(output.request_id)  # a stop string is none of the engine's
                    total = usage(prepared.prompts, choices, request.num_choices) if not open_choices else None
                if warnings or total is not None:
                    delta = replace(delta, warnings=warnings, usage=total)
                    warnings = ()
                yield delta
                if not open_choices:
                    return

    def _answered(self, request: GenerateRequest, token_ids: tuple[int, ...]) -> AnsweredPrompt:
        if not request.return_prompt_text:
            return AnsweredPrompt(token_ids)
        return AnsweredPrompt(token_ids, text=self._tokenizer.decode(token_ids, skip_special_tokens=False))
