"""Our own engine as a back end: text and JSON stop here, below it there are only token ids."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from inglenook.backends.base import BackendStats
from inglenook.backends.best_of import choose_best
from inglenook.backends.choice import Choice
from inglenook.backends.choices import usage, with_shared_scores
from inglenook.backends.details import describe
from inglenook.backends.formats import named_formats
from inglenook.backends.generation_config import GenerationConfig, read_generation_config
from inglenook.backends.model_files import Files, load_tokenizer
from inglenook.backends.off_loop import INLINE_CHARACTERS, inline_or_thread
from inglenook.backends.prepare import Preparer, needs_guide
from inglenook.backends.rendering import num_characters
from inglenook.config import EngineSettings, ModelSettings
from inglenook.errors import ConfigError
from inglenook.text.chat_template import ChatTemplate, find_template
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
    from inglenook.engine.load import LoadedEngine
    from inglenook.engine.memory import AvailableMemory
    from inglenook.engine.plan import Plan
    from inglenook.engine.sharing import Claim


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


def load_local_backend(
    files: Files,
    model: ModelSettings,
    engine: EngineSettings,
    *,
    draft: Files | None = None,
    available: AvailableMemory | None = None,
    on_plan: Callable[[Plan], None] | None = None,
) -> LocalBackend:
    """Load a model and start its engine. `draft` are the files of engine.speculative_config.model, if it names one.

    `available` is the memory that it may take, where that isn't all there is.

    Raises CheckpointError, UnsupportedModelError, OutOfMemoryError or ConfigError where that can't be.
    """
    from inglenook.engine.load import load_engine

    named_formats(model)  # what is wrong is told at once
    model.repetition_detection.detection()
    loaded = load_engine(
        files.path,
        replace(model, model=files.name),
        _with_draft(engine, draft),
        draft_path=None if draft is None else draft.path,
        available=available,
        on_plan=on_plan,
    )
    try:
        tokenizer = load_tokenizer(loaded.checkpoint, loaded.config.vocab_size)
        if draft is not None and loaded.draft_checkpoint is not None and draft.path != files.path:
            drafting = load_tokenizer(loaded.draft_checkpoint, loaded.config.vocab_size)
            _check_same_tokens(tokenizer, drafting, files.name, draft.name)
        template = find_template(tokenizer, model.chat_template)
        generation = _generation_config(files, model, loaded)
        if template is not None:
            template.compile()
    except BaseException:
        loaded.engine.stop()
        raise
    return LocalBackend(
        loaded.engine,
        tokenizer,
        template,
        names=model.served_model_name or (files.name,),
        max_model_len=loaded.plan.max_model_len,
        generation=generation,
        root=files.name,
        settings=model,
        vocab_size=loaded.config.vocab_size,
        max_requests=engine.max_num_seqs + engine.max_queue,
        max_running=engine.max_num_seqs,
        details=replace(
            describe(files.path, loaded.checkpoint, loaded.config),
            is_drafted=engine.speculative_config.method != "none",
        ),
    )


def claim_local_backend(
    files: Files, model: ModelSettings, engine: EngineSettings, *, draft: Files | None = None
) -> Claim:
    """What `load_local_backend` would ask of the memory. Raises as it does."""
    from inglenook.engine.load import read_claim

    draft_path = None if draft is None else draft.path
    return read_claim(files.path, replace(model, model=files.name), _with_draft(engine, draft), draft_path=draft_path)


def _with_draft(engine: EngineSettings, draft: Files | None) -> EngineSettings:
    """The draft model under the name that the store has for it."""
    if draft is None:
        return engine
    return replace(engine, speculative_config=replace(engine.speculative_config, model=draft.name))


def _check_same_tokens(target: Tokenizer, draft: Tokenizer, target_name: str, draft_name: str) -> None:
    """Ids that only one of them names are padding or special to it: they cost a wrong draft at most."""
    others = draft.vocabulary()
    different = [
        (token_id, name, others[token_id])
        for token_id, name in target.vocabulary().items()
        if others.get(token_id, name) != name
    ]
    if different:
        token_id, name, other = min(different)
        raise ConfigError(
            f"speculative_config: {len(different)} tokens of the draft model {draft_name} aren't {target_name}'s: "
            f"token {token_id} is {other!r} there and {name!r} here. A draft model must have the same vocabulary. "
            "Take a smaller model of the same family, or the method ngram, which needs none.",
            param="speculative_config",
        )


def _generation_config(files: Files, model: ModelSettings, loaded: LoadedEngine) -> GenerationConfig:
    from inglenook.checkpoint.checkpoint import read_generation_config as read_file

    config = read_generation_config(read_file(files.path), files.sampling)
    eos_token_ids = config.eos_token_ids | frozenset(loaded.config.eos_token_ids)
    return GenerationConfig(config.sampling if model.generation_config == "auto" else {}, eos_token_ids)
