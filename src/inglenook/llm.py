"""The Python API: the same back end as the server's, behind plain function calls."""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from inglenook.config import EngineSettings, ModelSettings, resolve
from inglenook.errors import ConfigError, InvalidRequestError, UnsupportedTaskError
from inglenook.types import (
    DOES,
    MODEL_DEFAULTED,
    ChatRequest,
    ClassifyRequest,
    CompletionRequest,
    Delta,
    EmbedRequest,
    FinishReason,
    Message,
    SamplingParams,
    ScoreRequest,
    Task,
    TokenLogprob,
    ToolCall,
    Usage,
    joined_calls,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from inglenook.backends.base import BackendStats, Generator, Pooler

ChatMessages = Sequence[Message | Mapping[str, Any]]
Prompt = str | Sequence[int]
T = TypeVar("T")


@dataclass(frozen=True)
class Completion:
    """What a model answered to one prompt. `str()` of it is the text; its thinking and its calls are apart."""

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    stop_reason: str | int | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    usage: Usage = Usage()
    warnings: tuple[str, ...] = ()
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    prompt_token_ids: tuple[int, ...] = ()
    prompt_logprobs: tuple[TokenLogprob | None, ...] | None = None  # None of the first token

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Classification:
    """What a classifier says of one input: a number for each of its labels. `label` has the largest."""

    label: str
    probs: tuple[float, ...]
    labels: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        return len(self.probs)


class LLM:
    """A model in this process.

    `model` is a catalogue name, a path or a source, as for `inglenook serve`; further keywords are the fields of
    ModelSettings and EngineSettings, which the environment may set too (INGLENOOK_THREADS). Methods may be called
    from several threads; requests that run at the same time share the engine's steps. Close it, or use it in a `with`
    statement, to free the memory.

    Raises ConfigError for unknown settings, ModelSourceError, CheckpointError or OutOfMemoryError where the model
    can't be had or doesn't fit.
    """

    def __init__(self, model: str | None = None, **settings: Any) -> None:
        from inglenook.backends.load import load_backend
        from inglenook.settings import gather, home_folder
        from inglenook.store.store import ModelStore

        allowed = _names(ModelSettings) | _names(EngineSettings)
        unknown = settings.keys() - allowed
        if unknown:
            raise ConfigError(
                f"Unknown settings: {', '.join(sorted(unknown))}. Allowed are {', '.join(sorted(allowed))}."
            )
        values = gather((ModelSettings, EngineSettings), flags={"model": model, **settings})
        model_settings = values.build(ModelSettings)
        engine_settings = resolve(values.build(EngineSettings))
        store = ModelStore(home_folder())
        files = store.resolve(model_settings.model)
        draft = store.resolve_draft(engine_settings)
        self._backend = load_backend(files, model_settings, engine_settings, draft=draft)
        self._ids = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="inglenook-llm", daemon=True)
        self._thread.start()

    # --- asking ---------------------------------------------------------------------------------------

    def generate(
        self, prompts: Prompt | Sequence[Prompt], sampling: SamplingParams | None = None, **params: Any
    ) -> list[Completion]:
        """Continue each prompt (text or token ids); one Completion per prompt and choice, in order.

        `params` are fields of SamplingParams, which override `sampling`; without `sampling`, what they leave open is as
        the model's makers recommend. `n` gives several choices, `best_of` the n likeliest of so many. Further ones are
        as in requests over HTTP: cache_salt, response_format, structured_outputs, repair, repair_keys,
        truncate_prompt_tokens, truncation_side, echo, add_special_tokens; here suffix, and in `chat` tools,
        tool_choice, parallel_tool_calls, reasoning_effort, thinking_token_budget, chat_template, chat_template_kwargs,
        documents.
        Raises InvalidRequestError for a parameter or a prompt that can't be honoured.
        """
        request, num_choices = self._completion_request(prompts, sampling, params)
        return self._run(_collect(self._generator.complete(request), len(request.prompts) * num_choices))

    def chat(self, messages: ChatMessages, sampling: SamplingParams | None = None, **params: Any) -> Completion:
        """Answer a conversation: dictionaries with `role` and `content`, or Messages.

        `params` are those of `generate` but `n`. Raises as it does.
        """
        request = self._chat_request(messages, sampling, params)
        if request.num_choices != 1:
            raise InvalidRequestError(
                f"n is {request.num_choices}, and chat gives one answer. Ask as often as you want answers: what their "
                "prompts share is computed once.",
                param="n",
            )
        return self._run(_collect(self._generator.chat(request), 1))[0]

    def stream(
        self, prompt: str | ChatMessages, sampling: SamplingParams | None = None, **params: Any
    ) -> Iterator[Delta]:
        """The same piece by piece: text is continued, a list of messages answered.

        Leaving the loop early cancels the request.
        """
        if isinstance(prompt, str):
            deltas = self._generator.complete(self._completion_request(prompt, sampling, params)[0])
        else:
            deltas = self._generator.chat(self._chat_request(prompt, sampling, params))
        return self._iterate(deltas)

    def embed(self, inputs: Prompt | Sequence[Prompt], **params: Any) -> npt.NDArray[np.float32]:
        """A vector for each input (text or token ids): [inputs, dimensions].

        `params` are as in requests over HTTP: dimensions, prompt_name, input_type, normalize, truncate_prompt_tokens,
        truncation_side, add_special_tokens, priority. Raises UnsupportedTaskError for a model that makes no vectors,
        InvalidRequestError for a parameter or an input that can't be honoured.
        """
        from inglenook.dialects.python_api import embed_options

        request = EmbedRequest(inputs=_prompts(inputs), **embed_options(params, self._next_id()))
        return self._run(self._pooler("embed").embed(request)).vectors

    def score(self, query: str, documents: str | Sequence[str], **params: Any) -> list[float]:
        """How well each document answers the query; higher is better.

        `params` are raw_scores, truncate_prompt_tokens, truncation_side and priority. Raises as `embed` does.
        """
        from inglenook.dialects.python_api import score_options

        texts = (documents,) if isinstance(documents, str) else documents
        options = score_options(params, self._next_id())
        request = ScoreRequest(pairs=tuple((query, text) for text in texts), **options)
        return list(self._run(self._pooler("score", "embed").score(request)).scores)

    def classify(self, inputs: Prompt | Sequence[Prompt], **params: Any) -> list[Classification]:
        """Which class each input (text or token ids) is of, as a classifier says.

        `params` are raw_scores (the logits), truncate_prompt_tokens, truncation_side, add_special_tokens and priority.
        Raises as `embed` does.
        """
        from inglenook.dialects.pooling.classes import likeliest
        from inglenook.dialects.python_api import classify_options

        request = ClassifyRequest(inputs=_prompts(inputs), **classify_options(params, self._next_id()))
        answer = self._run(self._pooler("classify", "score").classify(request))
        labels = answer.labels
        return [Classification(labels[likeliest(scores)], tuple(scores), labels) for scores in answer.scores]

    def stats(self) -> BackendStats:
        """A snapshot of gauges and counters, named as in /metrics."""
        return self._backend.stats()

    # --- life -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Cancel what runs and free the memory; a second call does nothing."""
        if self._loop.is_closed():
            return
        self._run(self._backend.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> LLM:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # --- inside ---------------------------------------------------------------------------------------

    @property
    def _generator(self) -> Generator:
        self._check_task("generate")
        return cast("Generator", self._backend)

    def _pooler(self, *tasks: Task) -> Pooler:
        self._check_task(*tasks)
        return cast("Pooler", self._backend)

    def _check_task(self, *tasks: Task) -> None:
        card = self._backend.models()[0]
        if card.task not in tasks:
            raise UnsupportedTaskError(f"The model {card.name!r} {DOES[card.task]}; it can't do this.", param="model")

    def _next_id(self) -> str:
        return f"llm-{next(self._ids)}"

    def _shared(self, sampling: SamplingParams | None, params: dict[str, Any], *, is_chat: bool) -> dict[str, Any]:
        from inglenook.dialects.python_api import option_names, sampling_values, take_options

        options = take_options(params, is_chat=is_chat)
        num_choices = params.pop("n", 1)
        cache_salt = params.pop("cache_salt", None) or ""
        unknown = params.keys() - _names(SamplingParams)
        if unknown:
            allowed = _names(SamplingParams) | option_names(is_chat=is_chat)
            raise InvalidRequestError(
                f"Unknown parameters: {', '.join(sorted(unknown))}. "
                f"Allowed are n, cache_salt, {', '.join(sorted(allowed))}."
            )
        params = sampling_values(params)
        left_open = frozenset() if sampling is not None else MODEL_DEFAULTED - params.keys()
        sampling = replace(sampling or SamplingParams(), **params)
        return {
            "request_id": self._next_id(),
            "model": "",
            "sampling": sampling,
            "num_choices": num_choices,
            "cache_salt": cache_salt,
            "model_defaulted": left_open,
            **options,
        }

    def _chat_request(
        self, messages: ChatMessages, sampling: SamplingParams | None, params: dict[str, Any]
    ) -> ChatRequest:
        turns = tuple(m if isinstance(m, Message) else _message(m) for m in messages)
        return ChatRequest(messages=turns, **self._shared(sampling, params, is_chat=True))

    def _completion_request(
        self, prompts: Prompt | Sequence[Prompt], sampling: SamplingParams | None, params: dict[str, Any]
    ) -> tuple[CompletionRequest, int]:
        best_of = params.pop("best_of", None)
        shared = self._shared(sampling, params, is_chat=False)
        request = CompletionRequest(prompts=_prompts(prompts), best_of=best_of, **shared)
        return request, request.num_choices

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            work.close()
            raise ConfigError("This LLM is closed; make a new one.")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _iterate(self, deltas: AsyncIterator[Delta]) -> Iterator[Delta]:
        pieces: queue.SimpleQueue[Delta | BaseException | None] = queue.SimpleQueue()

        async def pump() -> None:
            try:
                async for delta in deltas:
                    pieces.put(delta)
                pieces.put(None)
            except Exception as error:
                pieces.put(error)

        future = asyncio.run_coroutine_threadsafe(pump(), self._loop)
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            future.cancel()


async def _collect(deltas: AsyncIterator[Delta], num_choices: int) -> list[Completion]:
    """Join the pieces of each choice."""
    pieces: list[list[Delta]] = [[] for _ in range(num_choices)]
    usage = Usage()
    warnings: tuple[str, ...] = ()
    async for delta in deltas:
        pieces[delta.index].append(delta)
        usage = delta.usage or usage
        warnings = warnings + delta.warnings
    return [
        Completion(
            text="".join(d.text for d in choice),
            token_ids=tuple(itertools.chain.from_iterable(d.token_ids for d in choice)),
            finish_reason=choice[-1].finish_reason or "stop",
            stop_reason=choice[-1].stop_reason,
            logprobs=tuple(itertools.chain.from_iterable(d.logprobs for d in choice)),
            usage=usage,
            warnings=warnings,
            reasoning="".join(d.reasoning for d in choice),
            tool_calls=tuple(joined_calls(piece for d in choice for piece in d.tool_calls)),
            prompt_token_ids=next((d.prompt.token_ids for d in choice if d.prompt is not None), ()),
            prompt_logprobs=next((d.prompt.logprobs for d in choice if d.prompt is not None), None),
        )
        for choice in pieces
    ]


def _prompts(prompts: Prompt | Sequence[Prompt]) -> tuple[str | tuple[int, ...], ...]:
    """One prompt or several, text or token ids, as the request has them."""
    if isinstance(prompts, str):
        return (prompts,)
    if prompts and all(isinstance(p, int) for p in prompts):
        return (tuple(cast("Sequence[int]", prompts)),)
    return tuple(p if isinstance(p, str) else tuple(p) for p in cast("Sequence[Prompt]", prompts))


def _message(turn: Mapping[str, Any]) -> Message:
    if not isinstance(turn.get("role"), str):
        raise InvalidRequestError("A message needs a role, such as 'user'.", param="messages")
    extra = {key: value for key, value in turn.items() if key not in ("role", "content", "name")}
    return Message(role=turn["role"], content=turn.get("content"), name=turn.get("name"), extra=extra)


def _names(settings: type) -> set[str]:
    return {f.name for f in fields(settings)}
