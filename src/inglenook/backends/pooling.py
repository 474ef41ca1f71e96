"""Our own engine as a back end of models that make vectors of texts, rank them or sort them into classes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from inglenook.backends.base import BackendStats
from inglenook.backends.details import describe
from inglenook.backends.model_files import Files, load_tokenizer
from inglenook.backends.off_loop import INLINE_CHARACTERS, inline_or_thread
from inglenook.backends.pooling_inputs import InputReader, num_given_characters
from inglenook.backends.pooling_traits import PoolingTraits, read_traits
from inglenook.backends.rendering import num_characters, rendered_prompts
from inglenook.backends.vectors import class_scores, cosine, finish_vectors, sigmoid
from inglenook.config import EngineSettings, ModelSettings
from inglenook.errors import InvalidRequestError, UnsupportedTaskError
from inglenook.text.tokenizer import Tokenizer
from inglenook.types import (
    DOES,
    ChatRequest,
    Classes,
    ClassifyRequest,
    CompletionRequest,
    Embeddings,
    EmbedRequest,
    ModelCard,
    ModelDetails,
    RenderedPrompt,
    ScoreRequest,
    Scores,
    Task,
    Usage,
)

if TYPE_CHECKING:
    from inglenook.engine.plan import Plan
    from inglenook.engine.pooling import PoolingInput, PoolingStats


class Encoder(Protocol):
    """The engine, as this back end needs it."""

    @property
    def is_healthy(self) -> bool: ...

    async def encode(self, inputs: Sequence[PoolingInput], *, priority: int = 0) -> list[npt.NDArray[np.float32]]: ...

    def stats(self) -> PoolingStats: ...

    def stop(self) -> None: ...


class PoolingBackend:
    """One model on our pooling engine, under one or several names. `width` is that of its rows."""

    def __init__(
        self,
        engine: Encoder,
        tokenizer: Tokenizer,
        traits: PoolingTraits,
        *,
        task: Task,
        names: Sequence[str],
        root: str,
        max_model_len: int,
        vocab_size: int,
        width: int,
        num_token_types: int = 0,
        max_requests: int = 1,
        details: ModelDetails = ModelDetails(),  # noqa: B008
    ) -> None:
        self.engine = engine
        self._tokenizer = tokenizer
        self._traits = traits
        self._width = width
        self._task = task
        self._reader = InputReader(
            tokenizer, traits, max_model_len=max_model_len, vocab_size=vocab_size, num_token_types=num_token_types
        )
        created = int(time.time())
        self._cards = [ModelCard(name, created, max_model_len, root, task, max_requests, details) for name in names]

    def models(self) -> list[ModelCard]:
        return self._cards

    def is_healthy(self) -> bool:
        return self.engine.is_healthy

    def stats(self) -> BackendStats:
        """Running and waiting are inputs, not requests: a request may have thousands."""
        stats = self.engine.stats()
        return BackendStats(
            gauges={"num_requests_running": stats.num_running, "num_requests_waiting": stats.num_waiting},
            counters={
                "prompt_tokens_total": stats.num_prompt_tokens,
                "pooling_inputs_total": stats.num_inputs,
                "engine_steps_total": stats.num_steps,
            },
        )

    async def close(self) -> None:
        await asyncio.to_thread(self.engine.stop)

    # --- answers --------------------------------------------------------------------------------------

    async def embed(self, request: EmbedRequest) -> Embeddings:
        self._check_task("embed")
        width = self._check_width(request.dimensions)
        is_long = num_given_characters(request.inputs) > INLINE_CHARACTERS
        read = await inline_or_thread(is_long, lambda: self._reader.for_vectors(request))
        rows = await self.engine.encode(read.inputs, priority=request.priority)
        is_normalized = self._traits.is_normalized if request.is_normalized is None else request.is_normalized
        vectors = finish_vectors(rows, width=width, is_normalized=is_normalized)
        return Embeddings(vectors, _usage(read.inputs), read.warnings)

    async def score(self, request: ScoreRequest) -> Scores:
        self._check_task("score", "embed")
        is_long = sum(len(first) + len(second) for first, second in request.pairs) > INLINE_CHARACTERS
        if self._task == "embed":
            compared = await inline_or_thread(is_long, lambda: self._reader.for_comparing(request))
            rows = await self.engine.encode(compared.inputs, priority=request.priority)
            scores = [cosine(rows[first], rows[second]) for first, second in compared.pairs]
            return Scores(scores, _usage(compared.inputs), compared.warnings)
        read = await inline_or_thread(is_long, lambda: self._reader.for_scores(request))
        logits = [float(row[0]) for row in await self.engine.encode(read.inputs, priority=request.priority)]
        is_raw = request.is_raw or self._traits.activation == "identity"
        return Scores(logits if is_raw else [sigmoid(logit) for logit in logits], _usage(read.inputs), read.warnings)

    async def classify(self, request: ClassifyRequest) -> Classes:
        self._check_task("classify", "score")
        is_long = num_given_characters(request.inputs) > INLINE_CHARACTERS
        read = await inline_or_thread(is_long, lambda: self._reader.for_classes(request))
        rows = await self.engine.encode(read.inputs, priority=request.priority)
        function = request.function or self._traits.function
        scores = [class_scores(row, function) for row in rows]
        return Classes(self._traits.labels, scores, _usage(read.inputs), read.warnings)

    async def render(
        self, request: ChatRequest | CompletionRequest, *, with_tokens: bool = False
    ) -> list[RenderedPrompt]:
        """Texts as they are tokenised, without a prompt of the model's before them."""
        if isinstance(request, ChatRequest):
            raise UnsupportedTaskError("This model makes vectors or scores; it has no chat template.", param="messages")
        return await inline_or_thread(
            num_characters(request) > INLINE_CHARACTERS,
            lambda: rendered_prompts(self._tokenizer, request, with_tokens=with_tokens),
        )

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        return await inline_or_thread(
            len(token_ids) > INLINE_CHARACTERS, lambda: self._tokenizer.decode(token_ids, skip_special_tokens=False)
        )

    def _check_task(self, *tasks: Task) -> None:
        if self._task not in tasks:
            raise UnsupportedTaskError(f"This model {DOES[self._task]}; it can't do this.", param="model")

    def _check_width(self, dimensions: int | None) -> int | None:
        allowed = self._traits.widths
        if dimensions is None or dimensions == self._width:
            return None
        if allowed is None:
            raise InvalidRequestError(
                f"dimensions is {dimensions}, but this model's vectors of {self._width} numbers can't be cut: its "
                "config.json doesn't say that it was trained for it (matryoshka_dimensions, is_matryoshka).",
                param="dimensions",
            )
        if not 1 <= dimensions <= self._width or (allowed and dimensions not in allowed):
            widths = ", ".join(map(str, sorted(allowed))) if allowed else f"1 to {self._width}"
            raise InvalidRequestError(
                f"dimensions is {dimensions}; this model's vectors can be cut to {widths}.", param="dimensions"
            )
        return dimensions


def load_pooling_backend(
    files: Files, model: ModelSettings, engine: EngineSettings, *, on_plan: Callable[[Plan], None] | None = None
) -> PoolingBackend:
    """Load a model and start its engine.

    Raises CheckpointError, UnsupportedModelError, OutOfMemoryError or ConfigError where that can't be.
    """
    from inglenook.engine.load_pooling import load_pooling_engine

    loaded = load_pooling_engine(files.path, replace(model, model=files.name), engine, on_plan=on_plan)
    try:
        tokenizer = load_tokenizer(loaded.checkpoint, loaded.config.vocab_size)
        is_normalized = loaded.pooling is None or loaded.pooling.is_normalized is not False
        num_labels = 0 if loaded.task == "embed" else loaded.width
        traits = read_traits(files.path, loaded.checkpoint.config, is_normalized=is_normalized, num_labels=num_labels)
    except BaseException:
        loaded.engine.stop()
        raise
    return PoolingBackend(
        loaded.engine,
        tokenizer,
        traits,
        task=loaded.task,
        names=model.served_model_name or (files.name,),
        root=files.name,
        max_model_len=loaded.max_model_len,
        vocab_size=loaded.config.vocab_size,
        width=loaded.width,
        num_token_types=loaded.engine.limits.num_token_types,
        max_requests=engine.max_num_seqs + engine.max_queue,
        details=describe(files.path, loaded.checkpoint, loaded.config),
    )


def _usage(inputs: Sequence[PoolingInput]) -> Usage:
    return Usage(prompt_tokens=sum(len(given.token_ids) for given in inputs))
