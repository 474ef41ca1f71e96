"""Our own engine as a back end: text and JSON stop here, below it there are only token ids."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from inglenook.backends.base import BackendStats
from inglenook.backends.choice import Choice
from inglenook.backends.choices import merge, samples, usage
from inglenook.backends.generation_config import GenerationConfig, read_generation_config
from inglenook.config import EngineSettings, ModelSettings
from inglenook.engine.request import EngineRequest
from inglenook.errors import ConfigError, ContextLengthError, InvalidRequestError, UnsupportedParameterError
from inglenook.text.chat_template import ChatTemplate, find_template, missing_template_error
from inglenook.text.normalize import render_chat
from inglenook.text.tokenizer import Tokenizer
from inglenook.types import MAX_CHOICES, ChatRequest, CompletionRequest, Delta, GenerateRequest, ModelCard

if TYPE_CHECKING:
    from inglenook.engine.async_engine import AsyncEngine
    from inglenook.engine.load import LoadedEngine
    from inglenook.engine.plan import Plan

# Prompts of more characters are rendered and tokenised on another thread, so that other streams go on meanwhile.
_INLINE_CHARACTERS = 8192

T = TypeVar("T")


class Files(Protocol):
    """What the store resolves a model to."""

    @property
    def path(self) -> Path | None: ...
    @property
    def name(self) -> str: ...
    @property
    def sampling(self) -> Mapping[str, float]: ...


class LocalBackend:
    """One model on our engine, under one or several names."""

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
    ) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._template = template
        self._max_model_len = max_model_len
        self._eos_token_ids = tokenizer.end_of_turn_ids | generation.eos_token_ids
        self.generation = generation
        created = int(time.time())
        self._cards = [ModelCard(name, created, max_model_len, root) for name in names]

    def models(self) -> list[ModelCard]:
        return self._cards

    def is_healthy(self) -> bool:
        return self._engine.is_healthy

    def stats(self) -> BackendStats:
        stats = self._engine.stats()
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
            },
        )

    async def close(self) -> None:
        await asyncio.to_thread(self._engine.stop)

    # --- requests -------------------------------------------------------------------------------------

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        _check_shared(request)
        num_characters = sum(len(message.content or "") for message in request.messages)
        token_ids, warnings = await _inline_or_thread(num_characters, lambda: self._chat_prompt(request))
        async with aclosing(self._answer(request, [token_ids], warnings)) as deltas:
            async for delta in deltas:
                yield delta

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[Delta, None]:
        _check_shared(request)
        if not request.prompts:
            raise InvalidRequestError("prompt is empty; at least one prompt is needed.", param="prompt")
        if request.echo and request.sampling.logprobs is not None:
            raise UnsupportedParameterError(
                "logprobs of an echoed prompt aren't supported; leave out echo.", param="echo"
            )
        num_characters = sum(len(prompt) for prompt in request.prompts)
        prompts = await _inline_or_thread(
            num_characters, lambda: [self._prompt_ids(prompt, request) for prompt in request.prompts]
        )
        echoed = [self._prompt_text(prompt) for prompt in request.prompts] if request.echo else None
        async with aclosing(self._answer(request, prompts, (), echoed)) as deltas:
            async for delta in deltas:
                yield delta

    # --- prompts --------------------------------------------------------------------------------------

    def _chat_prompt(self, request: ChatRequest) -> tuple[list[int], tuple[str, ...]]:
        if self._template is None:
            raise missing_template_error()
        rendered = render_chat(
            self._template,
            request.messages,
            add_generation_prompt=request.add_generation_prompt,
            continue_final_message=request.continue_final_message,
            template_kwargs=request.chat_template_kwargs,
        )
        # The template writes the special tokens itself.
        return self._tokenizer.encode(rendered.prompt, add_special_tokens=False), rendered.warnings

    def _prompt_ids(self, prompt: str | tuple[int, ...], request: CompletionRequest) -> list[int]:
        if isinstance(prompt, str):
            token_ids = self._tokenizer.encode(prompt, add_special_tokens=request.add_special_tokens)
        else:
            token_ids = list(prompt)
        if not token_ids:
            raise InvalidRequestError(
                "The prompt is empty, and this model has no token that begins a text; send at least one character.",
                param="prompt",
            )
        return token_ids

    def _prompt_text(self, prompt: str | tuple[int, ...]) -> str:
        return prompt if isinstance(prompt, str) else self._tokenizer.decode(prompt)

    # --- answers --------------------------------------------------------------------------------------

    async def _answer(
        self,
        request: GenerateRequest,
        prompts: Sequence[list[int]],
        warnings: tuple[str, ...],
        echoed: Sequence[str] | None = None,
    ) -> AsyncGenerator[Delta, None]:
        """The deltas of every choice as they come; choice = prompt * num_choices + sample."""
        engine_requests: list[EngineRequest] = []
        param = "messages" if isinstance(request, ChatRequest) else "prompt"
        for prompt in prompts:
            engine_request, warning = self._engine_request(request, prompt, param)
            warnings += (warning,) if warning and warning not in warnings else ()
            engine_requests += samples(engine_request, request.num_choices, len(engine_requests))
        is_continuation = not isinstance(request, ChatRequest) or request.continue_final_message
        choices = [
            Choice(index, self._tokenizer, r.sampling, is_continuation=is_continuation)
            for index, r in enumerate(engine_requests)
        ]
        if echoed is not None:
            for choice in choices:
                yield Delta(choice.index, echoed[choice.index // request.num_choices], warnings=warnings)
                warnings = ()
        num_open = len(choices)
        streams = [self._choice_deltas(r, choice) for r, choice in zip(engine_requests, choices, strict=True)]
        async with aclosing(merge(streams)) as deltas:
            async for delta in deltas:
                num_open -= delta.finish_reason is not None
                total = usage(prompts, choices, request.num_choices) if num_open == 0 else None
                if warnings or total is not None:
                    delta = replace(delta, warnings=warnings, usage=total)
                    warnings = ()
                yield delta

    def _engine_request(
        self, request: GenerateRequest, prompt: list[int], param: str
    ) -> tuple[EngineRequest, str | None]:
        """The request with max_tokens made concrete: an upper bound, capped at the room that the prompt leaves."""
        sampling = self.generation.apply(request)
        room = self._max_model_len - len(prompt)
        if room < (sampling.max_tokens != 0):
            raise ContextLengthError(
                f"This model's context length is {self._max_model_len} tokens, and the {param} has {len(prompt)}; "
                "at least one must be left for the answer. Shorten the input"
                + (" or start the server with a longer --max-model-len." if isinstance(request, ChatRequest) else "."),
                param=param,
            )
        warning = None
        if sampling.max_tokens is not None and sampling.max_tokens > room:
            warning = f"max_tokens is {sampling.max_tokens}, but the context leaves room for {room}, so it was capped"
        max_tokens = room if sampling.max_tokens is None else min(sampling.max_tokens, room)
        sampling = replace(sampling, max_tokens=max_tokens, min_tokens=min(sampling.min_tokens, max_tokens))
        engine_request = EngineRequest(
            request.request_id, tuple(prompt), sampling, self._eos_token_ids, request.priority
        )
        return engine_request, warning

    async def _choice_deltas(self, request: EngineRequest, choice: Choice) -> AsyncGenerator[Delta, None]:
        async with aclosing(self._engine.generate(request)) as outputs:
            async for output in outputs:
                delta = choice.take(output)
                if delta is not None:
                    yield delta
                if choice.is_finished:
                    return


def load_local_backend(
    files: Files,
    model: ModelSettings,
    engine: EngineSettings,
    *,
    on_plan: Callable[[Plan], None] | None = None,
) -> LocalBackend:
    """Load a model and start its engine.

    Raises CheckpointError, UnsupportedModelError, OutOfMemoryError or ConfigError where that can't be.
    """
    from inglenook.engine.load import load_engine

    loaded = load_engine(files.path, replace(model, model=files.name), engine, on_plan=on_plan)
    try:
        tokenizer = _load_tokenizer(loaded)
        template = find_template(tokenizer, _read_template(model.chat_template))
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
    )


def _load_tokenizer(loaded: LoadedEngine) -> Tokenizer:
    checkpoint = loaded.checkpoint
    if checkpoint.format == "gguf":
        return Tokenizer.from_gguf(checkpoint.config)
    if checkpoint.path is not None:
        return Tokenizer.from_folder(checkpoint.path)
    return Tokenizer.dummy(loaded.config.vocab_size)


def _generation_config(files: Files, model: ModelSettings, loaded: LoadedEngine) -> GenerationConfig:
    from inglenook.checkpoint.checkpoint import read_generation_config as read_file

    config = read_generation_config(read_file(files.path), files.sampling)
    eos_token_ids = config.eos_token_ids | frozenset(loaded.config.eos_token_ids)
    return GenerationConfig(config.sampling if model.generation_config == "auto" else {}, eos_token_ids)


def _read_template(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The chat template {path} can't be read: {error}.") from error


def _check_shared(request: GenerateRequest) -> None:
    request.sampling.validate()
    if not 1 <= request.num_choices <= MAX_CHOICES:
        raise InvalidRequestError(f"n is {request.num_choices}; it must be between 1 and {MAX_CHOICES}.", param="n")


async def _inline_or_thread(num_characters: int, work: Callable[[], T]) -> T:
    return work() if num_characters <= _INLINE_CHARACTERS else await asyncio.to_thread(work)
