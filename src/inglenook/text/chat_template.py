"""Chat templates: which one a model has, and messages through it, byte for byte as `transformers` does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from inglenook.errors import CheckpointError, ConfigError, InvalidRequestError
from inglenook.text.builtin_templates import NamedTemplate, builtin_template, choose_template
from inglenook.text.jinja_environment import make_environment

if TYPE_CHECKING:
    import jinja2

    from inglenook.text.tokenizer import Tokenizer

MAX_PROMPT_CHARACTERS = 64 * 2**20  # a template that writes more than this is running away
_CONTINUE_MARK = "CONTINUE_FINAL_MESSAGE_TAG "  # ends in a space, to see whether the template strips the content
_REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")


class TemplateRefusedError(InvalidRequestError):
    """The template raised an exception of its own, or failed, on these messages."""


class ChatTemplate:
    """Renders messages. Compiled at the first use, or by `compile`; safe to use from several threads.

    `is_override`: the template comes from the user's settings, not from the model. `tool_use` is the source of another
    template, for requests with tools. `stop` are texts that end an answer.
    """

    def __init__(
        self,
        source: str,
        special_tokens: Mapping[str, str],
        *,
        is_override: bool = False,
        tool_use: str | None = None,
        stop: tuple[str, ...] = (),
    ) -> None:
        self.source = source
        self.stop = stop
        self._special_tokens = dict(special_tokens)
        self._is_override = is_override
        self.for_tools = self if tool_use is None else ChatTemplate(tool_use, special_tokens)

    def compile(self) -> None:
        """Raises CheckpointError (ConfigError for an override) where the template isn't valid Jinja."""
        _ = self._compiled
        if self.for_tools is not self:
            self.for_tools.compile()

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        /,
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> str:
        """The prompt for `messages`; keys whose value is None count as not given.

        `continue_final_message` leaves the last message open, so that the model carries it on. Raises
        InvalidRequestError where the template refuses the messages or fails on them.
        """
        if continue_final_message and add_generation_prompt:
            raise InvalidRequestError(
                "continue_final_message and add_generation_prompt can't both be true: the one carries on the last "
                "message, the other opens a new one.",
                param="continue_final_message",
            )
        if "messages" in kwargs:
            raise InvalidRequestError(
                "The messages can't be given to the chat template a second time.", param="chat_template_kwargs"
            )
        chat = [_with_reasoning_names(_plain(message)) for message in messages]
        if not chat:
            raise InvalidRequestError("messages is empty; at least one message is needed.", param="messages")
        last_text = _mark_last_text(chat[-1], self.source) if continue_final_message else ""
        variables = {
            **self._special_tokens,
            **{name: _plain(value) for name, value in kwargs.items()},
            "messages": chat,
            "tools": _plain(tools),
            "documents": _plain(documents),
            "add_generation_prompt": add_generation_prompt,
        }
        prompt = self._run(variables)
        return _cut_at_mark(prompt, last_text) if continue_final_message else prompt

    def _run(self, variables: Mapping[str, Any]) -> str:
        import jinja2

        template = self._compiled
        pieces: list[str] = []
        num_characters = 0
        try:
            for piece in template.generate(variables):
                pieces.append(piece)
                num_characters += len(piece)
                if num_characters > MAX_PROMPT_CHARACTERS:
                    raise InvalidRequestError(
                        f"The chat template wrote more than {MAX_PROMPT_CHARACTERS} characters; it was stopped.",
                        param="messages",
                    )
        except InvalidRequestError:
            raise
        except jinja2.TemplateError as error:
            if type(error) is jinja2.TemplateError:  # raise_exception in the template
                raise TemplateRefusedError(
                    f"The chat template refuses these messages: {error.message}", param="messages"
                ) from error
            raise _template_failed(error) from error
        except Exception as error:  # a template can run into any error that Python has
            raise _template_failed(error) from error
        return "".join(pieces)

    @cached_property
    def _compiled(self) -> jinja2.Template:
        import jinja2

        try:
            return make_environment().from_string(self.source)
        except (jinja2.TemplateError, RecursionError) as error:
            where = f" at line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
            if self._is_override:
                raise ConfigError(f"What was given as --chat-template isn't valid Jinja{where}: {error}") from error
            raise CheckpointError(
                f"The model's chat template isn't valid Jinja{where}: {error}. Pass another with --chat-template."
            ) from error


def find_template(tokenizer: Tokenizer, choice: str | None = None) -> ChatTemplate | None:
    """The template to use: the chosen one (see builtin_templates.py), the model's own, or ChatML where the vocabulary
    has its tokens.

    None where there is none of these: then chat requests are to be answered with `missing_template_error`. Raises
    ConfigError for a choice that doesn't exist.
    """
    own = dict(tokenizer.chat_templates)
    if choice is not None:
        return _named(choose_template(choice, own), tokenizer)
    default = own.get("default") or (next(iter(own.values())) if len(own) == 1 else None)
    if default is not None:
        return ChatTemplate(default, tokenizer.special_tokens, tool_use=own.get("tool_use"))
    if own:
        raise CheckpointError(
            f"The model has chat templates named {', '.join(sorted(own))}, but none that is its default. Choose one "
            "with --chat-template."
        )
    if all(tokenizer.token_id(name) in tokenizer.special_ids for name in ("<|im_start|>", "<|im_end|>")):
        chatml = builtin_template("chatml")
        assert chatml is not None
        return ChatTemplate(chatml.source, tokenizer.special_tokens)
    return None


def request_template(source: str, special_tokens: Mapping[str, str]) -> ChatTemplate:
    """One that a request brings. Raises InvalidRequestError where it isn't valid Jinja."""
    template = ChatTemplate(source, special_tokens)
    try:
        template.compile()
    except CheckpointError as error:
        cause = error.__cause__
        line = getattr(cause, "lineno", None)
        where = "" if line is None else f" (line {line})"
        raise InvalidRequestError(
            f"chat_template isn't valid Jinja: {str(cause)[:300]}{where}", param="chat_template"
        ) from None
    return template


def _named(named: NamedTemplate, tokenizer: Tokenizer) -> ChatTemplate:
    source = named.source
    if named.adds_bos and tokenizer.bos_token_id in tokenizer.encode("")[:1]:
        source = "{{- bos_token }}" + source
    return ChatTemplate(source, tokenizer.special_tokens, is_override=True, stop=named.stop)


def missing_template_error() -> InvalidRequestError:
    return InvalidRequestError(
        "This model has no chat template, so it can't answer chat messages. Use /v1/completions, or start the server "
        "with --chat-template and a file or a built-in name, such as zero_shot.",
        param="messages",
    )


def _template_failed(error: Exception) -> TemplateRefusedError:
    return TemplateRefusedError(
        f"The model's chat template failed on these messages: {str(error)[:300] or type(error).__name__}",
        param="messages",
    )


def _mark_last_text(message: dict[str, Any], source: str) -> str:
    """Put the mark behind the message's text, in place; returns the text as it was."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    part = next(
        (part for part in reversed(parts) if isinstance(part, dict) and isinstance(part.get("text"), str)), None
    )
    if part is None or "content" not in source:
        raise InvalidRequestError(
            "continue_final_message is true, but the last message has no text to carry on.",
            param="continue_final_message",
        )
    text: str = part["text"]
    part["text"] = text + _CONTINUE_MARK
    if not isinstance(content, list):
        message["content"] = part["text"]
    return text


def _cut_at_mark(prompt: str, content: str) -> str:
    """The prompt up to the end of the last message's content, stripped at its end if the template strips it."""
    mark = _CONTINUE_MARK.strip()
    if mark not in prompt or content.strip() not in prompt:
        raise InvalidRequestError(
            "continue_final_message is true, but the chat template doesn't write the last message's content as it is.",
            param="continue_final_message",
        )
    end = prompt.rindex(mark)
    return prompt[:end] if prompt.startswith(_CONTINUE_MARK, end) else prompt[:end].rstrip()


def _with_reasoning_names(message: dict[str, Any]) -> dict[str, Any]:
    """Reasoning under the names by which templates read it."""
    given = {key: value for key, value in message.items() if value is not None}
    for name in _REASONING_FIELDS:
        if name in given:
            return {"thinking": given[name], **given, "reasoning_content": given[name]}
    return given


def _plain(value: Any) -> Any:
    """A copy made of JSON's types only, so that a template can neither change nor call what it is given."""
    try:
        return _copy(value)
    except RecursionError as error:
        raise InvalidRequestError("The messages or tools are nested too deeply.", param="messages") from error


def _copy(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # not str(value), which an enumeration overrides
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, Mapping):
        return {_copy(key): _copy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(item) for item in value]
    raise InvalidRequestError(
        f"A chat template can't be given a value of the type {type(value).__name__}; use JSON's types."
    )
