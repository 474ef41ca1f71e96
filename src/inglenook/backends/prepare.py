"""A client's request as the engine gets it: prompts rendered and tokenised, lengths made concrete, one for a choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING

from inglenook.backends.bad_words import banned_tokens, with_text_bias
from inglenook.backends.choices import samples
from inglenook.backends.echo import echoed_message
from inglenook.backends.formats import AnswerForm, Formats
from inglenook.backends.generation_config import GenerationConfig
from inglenook.backends.rendering import prompt_ids, rendered_ids, rendered_prompts, rendered_text
from inglenook.backends.truncation import middle_warning, prompt_length, truncated
from inglenook.config import ModelSettings
from inglenook.engine.request import EngineRequest
from inglenook.errors import ContextLengthError, InvalidRequestError, UnsupportedParameterError
from inglenook.text.chat_template import ChatTemplate, missing_template_error, request_template
from inglenook.text.fill_in_middle import MiddleFormat, find_middle_format
from inglenook.text.normalize import RenderedChat, render_chat
from inglenook.text.reasoning_options import template_kwargs
from inglenook.text.tokenizer import Tokenizer
from inglenook.types import MAX_CHOICES, ChatRequest, CompletionRequest, GenerateRequest, Prompt, RenderedPrompt

if TYPE_CHECKING:
    from inglenook.backends.answer_guides import AnswerGuides

_MAX_TEMPLATES = 32  # of requests, kept compiled


@dataclass(frozen=True)
class PreparedRequest:
    """`engine_requests` has one for each choice: choice = prompt * num_choices + sample."""

    prompts: list[list[int]]
    engine_requests: list[EngineRequest]
    warnings: tuple[str, ...]
    echoed: list[str] | None = None  # the text of each prompt, where it is to be part of the answer
    form: AnswerForm = AnswerForm()


class Preparer:
    """Knows what of a model its requests depend on. Every method may be called from any thread."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: ChatTemplate | None,
        generation: GenerationConfig,
        max_model_len: int,
        settings: ModelSettings,
        *,
        vocab_size: int,
    ) -> None:
        """`vocab_size` is that of the model's logits."""
        self.formats = Formats(tokenizer, template, settings)
        self._tokenizer = tokenizer
        self._settings = settings
        self._template = template
        self._generation = generation
        self._max_model_len = max_model_len
        self._eos_token_ids = tokenizer.end_of_turn_ids | generation.eos_token_ids
        self._vocab_size = vocab_size
        self._repetition = settings.repetition_detection.detection()

    @cached_property
    def _guides(self) -> AnswerGuides:
        from inglenook.backends.answer_guides import AnswerGuides  # and all of grammar/: no start should wait for it

        return AnswerGuides(self._tokenizer, self.formats, vocab_size=self._vocab_size, end_ids=self._eos_token_ids)

    def prepare(self, request: ChatRequest | CompletionRequest) -> PreparedRequest:
        """Raises InvalidRequestError for what can't be served, ContextLengthError for a prompt that leaves no room."""
        request.sampling.validate()
        if not 1 <= request.num_choices <= MAX_CHOICES:
            raise InvalidRequestError(f"n is {request.num_choices}; it must be between 1 and {MAX_CHOICES}.", param="n")
        warnings: tuple[str, ...] = ()
        echoed = None
        if isinstance(request, ChatRequest):
            prompt, warnings, form = self._chat_prompt(request)
            prompts = [prompt]
        else:
            _check_completion(request)
            form = self.formats.completion_form(request)
            if needs_guide(request):
                form = replace(form, start_guide=self._guides.for_completion(request))
            prompts, warnings = self._prompts(request)
        whole = prompts
        prompts, cut = self._truncated(request, prompts)
        warnings += cut
        if (request.max_total_tokens or 0) > self._max_model_len:
            asked = request.max_total_tokens
            warnings += (f"A context of {asked} tokens was asked for; the model has {self._max_model_len} here.",)
        if isinstance(request, CompletionRequest) and request.echo:
            shown = request.prompts if prompts == whole else tuple(map(tuple, prompts))
            echoed = [self._prompt_text(prompt) for prompt in shown]
        elif isinstance(request, ChatRequest) and request.echo:
            text, without_effect = echoed_message(request)
            echoed, warnings = [text], warnings + without_effect
        engine_requests: list[EngineRequest] = []
        for prompt in prompts:
            engine_request, warning = self._engine_request(request, prompt)
            warnings += (warning,) if warning and warning not in warnings else ()
            if isinstance(request, CompletionRequest) and request.suffix is not None:
                ends = engine_request.eos_token_ids | self._middle_format().end_ids
                engine_request = replace(engine_request, eos_token_ids=ends)
            engine_request = replace(engine_request, start_guide=form.start_guide)
            engine_requests += samples(engine_request, request.num_choices, len(engine_requests))
        return PreparedRequest(prompts, engine_requests, warnings, echoed, form)

    def render(self, request: ChatRequest | CompletionRequest, *, with_tokens: bool = False) -> list[RenderedPrompt]:
        """The prompts that `prepare` makes, to look at."""
        return [self._rendered_as_truncated(request, prompt) for prompt in self._rendered(request, with_tokens)]

    def _rendered(self, request: ChatRequest | CompletionRequest, with_tokens: bool) -> list[RenderedPrompt]:
        if isinstance(request, ChatRequest):
            chat = self._rendered_chat(request)
            prompt = rendered_text(
                self._tokenizer,
                chat.prompt,
                add_special_tokens=request.add_special_tokens,
                warnings=chat.warnings,
                with_tokens=with_tokens,
            )
            return [prompt]
        if request.suffix is not None:
            prompts, warnings = self._prompts(request)
            return [replace(rendered_ids(self._tokenizer, prompt), warnings=warnings) for prompt in prompts]
        return rendered_prompts(self._tokenizer, request, with_tokens=with_tokens)

    def _rendered_as_truncated(self, request: GenerateRequest, prompt: RenderedPrompt) -> RenderedPrompt:
        [token_ids], warnings = self._truncated(request, [list(prompt.token_ids)])
        if not warnings:
            return prompt
        return replace(rendered_ids(self._tokenizer, token_ids), warnings=prompt.warnings + warnings)

    def _truncated(
        self, request: GenerateRequest, prompts: Sequence[list[int]]
    ) -> tuple[list[list[int]], tuple[str, ...]]:
        return truncated(prompts, request, self._context_of(request), self._tokenizer.bos_token_id)

    def _chat_prompt(self, request: ChatRequest) -> tuple[list[int], tuple[str, ...], AnswerForm]:
        rendered = self._rendered_chat(request)
        # The template writes the special tokens itself.
        prompt = self._tokenizer.encode(rendered.prompt, add_special_tokens=request.add_special_tokens)
        tool_format = self.formats.tool_format(uses_generic_tools=rendered.uses_generic_tools)
        form = self.formats.chat_form(request, rendered.prompt, tool_format)
        if needs_guide(request):
            form = replace(form, start_guide=self._guides.for_chat(request, rendered.prompt, tool_format))
        return prompt, rendered.warnings + self._thoughtless(request), form

    def _thoughtless(self, request: ChatRequest) -> tuple[str, ...]:
        """A warning where thinking is asked for, and nothing shows that the model can think."""
        asked = request.reasoning
        is_wanted = asked.is_enabled or asked.max_tokens or asked.effort not in (None, "none")
        if not is_wanted or self.formats.reasoning is not None or self._template is None:
            return ()
        if template_kwargs(asked, self._template.source):
            return ()
        return ("Nothing in its chat template shows that this model thinks; what was asked of thinking has no effect.",)

    def _rendered_chat(self, request: ChatRequest) -> RenderedChat:
        template = self._template if request.chat_template is None else self._request_template(request.chat_template)
        if template is None:
            raise missing_template_error()
        source = (template.for_tools if request.tool_use.tools else template).source
        return render_chat(
            template,
            request.messages,
            add_generation_prompt=request.add_generation_prompt,
            continue_final_message=request.continue_final_message,
            tool_use=request.tool_use,
            documents=request.documents,
            template_kwargs={**template_kwargs(request.reasoning, source), **request.chat_template_kwargs},
            is_strict=self._settings.strict,
        )

    def _request_template(self, source: str) -> ChatTemplate:
        if not self._settings.trust_request_chat_template:
            raise UnsupportedParameterError(
                "chat_template is taken only where the server was started with --trust-request-chat-template.",
                param="chat_template",
            )
        return self._compiled(source)

    @cached_property
    def _compiled(self) -> Callable[[str], ChatTemplate]:
        return lru_cache(_MAX_TEMPLATES)(partial(request_template, special_tokens=self._tokenizer.special_tokens))

    @property
    def fills_middle(self) -> bool:
        """Whether completions may have a suffix."""
        return self._middle is not None

    def _middle_format(self) -> MiddleFormat:
        if self._middle is None:
            raise UnsupportedParameterError(
                "suffix needs a model that can fill in the middle, and this one's vocabulary has no tokens for that.",
                param="suffix",
            )
        return self._middle

    @cached_property
    def _middle(self) -> MiddleFormat | None:
        return find_middle_format(self._tokenizer)

    def _context_of(self, request: GenerateRequest) -> int:
        """Tokens of a prompt and its answer together."""
        return min(self._max_model_len, request.max_total_tokens or self._max_model_len)

    def _prompts(self, request: CompletionRequest) -> tuple[list[list[int]], tuple[str, ...]]:
        """The token ids of each; warnings where what surrounds a middle was cut."""
        adds = request.add_special_tokens
        warnings: tuple[str, ...] = ()
        if request.suffix is None:
            prompts = [prompt_ids(self._tokenizer, prompt, add_special_tokens=adds) for prompt in request.prompts]
        else:
            length = prompt_length(request, self._context_of(request))
            known = self._middle_format()
            around = [
                known.prompt(
                    prompt_ids(self._tokenizer, prompt, add_special_tokens=False),
                    request.suffix,
                    files=request.files,
                    add_special_tokens=adds,
                    max_tokens=length,
                )
                for prompt in request.prompts
            ]
            prompts = [prompt.token_ids for prompt in around]
            warnings = tuple(dict.fromkeys(middle_warning(prompt) for prompt in around if any(prompt.num_cut)))
        if not all(prompts):
            raise InvalidRequestError(
                "The prompt is empty, and this model has no token that begins a text; send at least one character.",
                param="prompt",
            )
        return prompts, warnings

    def _prompt_text(self, prompt: Prompt) -> str:
        if isinstance(prompt, str):
            return prompt
        return self._tokenizer.decode(prompt_ids(self._tokenizer, prompt, add_special_tokens=False))

    def _engine_request(self, request: GenerateRequest, prompt: list[int]) -> tuple[EngineRequest, str | None]:
        """The request with max_tokens made concrete: an upper bound, capped at the room that the prompt leaves."""
        sampling = self._generation.apply(request)
        if sampling.repetition_detection is None:
            sampling = replace(sampling, repetition_detection=self._repetition)
        is_ours = isinstance(request, ChatRequest) and request.chat_template is None
        if is_ours and self._template is not None and self._template.stop:
            sampling = replace(sampling, stop=(*sampling.stop, *self._template.stop))
        if isinstance(request, CompletionRequest) and request.echo and sampling.logprobs is not None:
            sampling = replace(sampling, prompt_logprobs=max(sampling.logprobs, sampling.prompt_logprobs or 0))
        context = self._context_of(request)
        room = context - len(prompt)
        if room < (sampling.max_tokens != 0):
            is_chat = isinstance(request, ChatRequest)
            param = "messages" if is_chat else "prompt"
            is_own = context == self._max_model_len
            advice = " or start the server with a longer --max-model-len" if is_chat and is_own else ""
            raise ContextLengthError(
                f"This {'model' if is_own else 'request'}'s context length is {context} tokens, and the {param} has "
                f"{len(prompt)}; at least one must be left for the answer. Shorten the input{advice}.",
                param=param,
            )
        warning = None
        if sampling.max_tokens is not None and sampling.max_tokens > room:
            warning = f"max_tokens is {sampling.max_tokens}, but the context leaves room for {room}, so it was capped"
        max_tokens = room if sampling.max_tokens is None else min(sampling.max_tokens, room)
        sampling = replace(
            sampling,
            max_tokens=max_tokens,
            min_tokens=min(sampling.min_tokens, max_tokens),
            logit_bias=with_text_bias(self._tokenizer, sampling),
        )
        engine_request = EngineRequest(
            request.request_id,
            tuple(prompt),
            sampling,
            self._eos_token_ids,
            request.priority,
            request.cache_salt,
            banned=banned_tokens(self._tokenizer, sampling.bad_words),
            received=request.received,
        )
        return engine_request, warning


def needs_guide(request: ChatRequest | CompletionRequest) -> bool:
    """Whether something holds the answer, so that preparing it may take long."""
    if request.constraint is not None:
        return True
    return isinstance(request, ChatRequest) and bool(
        request.tool_use.callable_tools or request.reasoning.max_tokens is not None
    )


def _check_completion(request: CompletionRequest) -> None:
    if not request.prompts:
        raise InvalidRequestError("prompt is empty; at least one prompt is needed.", param="prompt")
    if request.suffix is not None and request.echo:
        raise UnsupportedParameterError("suffix isn't supported together with echo. Leave one out.", param="suffix")
