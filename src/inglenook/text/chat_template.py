"""Chat templates: Jinja, set up as `transformers` sets it up (utils/chat_template_utils.py), so that prompts are equal
byte for byte."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from inglenook.errors import CheckpointError, ConfigError, InvalidRequestError

if TYPE_CHECKING:
    import jinja2

    from inglenook.text.tokenizer import Tokenizer

MAX_PROMPT_CHARACTERS = 64 * 2**20  # a template that writes more than this is running away
_CONTINUE_MARK = "CONTINUE_FINAL_MESSAGE_TAG "  # ends in a space, to see whether the template strips the content
_REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class ChatTemplate:
    """Renders messages. Compiled at the first use, or by `compile`; safe to use from several threads.

    `is_override`: the template comes from the user's settings, not from the model.
    """

    def __init__(self, source: str, special_tokens: Mapping[str, str], *, is_override: bool = False) -> None:
        self.source = source
        self._special_tokens = dict(special_tokens)
        self._is_override = is_override

    def compile(self) -> None:
        """Raises CheckpointError (ConfigError for an override) where the template isn't valid Jinja."""
        _ = self._compiled

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
        content = chat[-1].get("content")
        if continue_final_message:
            if not isinstance(content, str) or "content" not in self.source:
                raise InvalidRequestError(
                    "continue_final_message is true, but the last message has no text to carry on.",
                    param="continue_final_message",
                )
            chat[-1]["content"] = content + _CONTINUE_MARK
        variables = {
            **self._special_tokens,
            **{name: _plain(value) for name, value in kwargs.items()},
            "messages": chat,
            "tools": _plain(tools),
            "documents": _plain(documents),
            "add_generation_prompt": add_generation_prompt,
        }
        prompt = self._run(variables)
        return _cut_at_mark(prompt, str(content)) if continue_final_message else prompt

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
                raise InvalidRequestError(
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
            return _environment().from_string(self.source)
        except (jinja2.TemplateError, RecursionError) as error:
            where = f" at line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
            if self._is_override:
                raise ConfigError(f"The file given as --chat-template isn't valid Jinja{where}: {error}") from error
            raise CheckpointError(
                f"The model's chat template isn't valid Jinja{where}: {error}. Pass another with --chat-template."
            ) from error


def find_template(tokenizer: Tokenizer, override: str | None = None) -> ChatTemplate | None:
    """The template to use: the given source, the model's own, or ChatML where the vocabulary has its tokens.

    None where there is none of these: then chat requests are to be answered with `missing_template_error`.
    """
    if override is not None:
        return ChatTemplate(override, tokenizer.special_tokens, is_override=True)
    if tokenizer.chat_template is not None:
        return ChatTemplate(tokenizer.chat_template, tokenizer.special_tokens)
    if all(tokenizer.token_id(name) in tokenizer.special_ids for name in ("<|im_start|>", "<|im_end|>")):
        return ChatTemplate(CHATML, tokenizer.special_tokens)
    return None


def missing_template_error() -> InvalidRequestError:
    return InvalidRequestError(
        "This model has no chat template, so it can't answer chat messages. Use /v1/completions, or start the server "
        "with --chat-template FILE.",
        param="messages",
    )


def _template_failed(error: Exception) -> InvalidRequestError:
    return InvalidRequestError(
        f"The model's chat template failed on these messages: {str(error)[:300] or type(error).__name__}",
        param="messages",
    )


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


# --- the environment ----------------------------------------------------------------------------------------------


def _environment() -> jinja2.Environment:
    import jinja2
    from jinja2 import nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %} marks what the model wrote, for training: here it changes nothing."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    class Namespace(jinja2.utils.Namespace):
        """Takes no names that begin with an underscore: they would reach into the object itself."""

        def __init__(self, /, *args: Any, **kwargs: Any) -> None:
            values = dict(*args, **kwargs)
            for name in values:
                _check_attribute(name)
            super().__init__(values)

        def __setitem__(self, name: str, value: Any) -> None:
            _check_attribute(name)
            super().__setitem__(name, value)

    class Dict:
        """Python's dict, of which nothing else can be reached."""

        def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
            return dict(*args, **kwargs)

        def fromkeys(self, *args: Any) -> dict[Any, Any]:
            return dict.fromkeys(*args)

    def _check_attribute(name: object) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"{name!r} begins with an underscore")

    def raise_exception(message: Any) -> None:
        raise jinja2.TemplateError(str(message))

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals.update(
        raise_exception=raise_exception,
        strftime_now=lambda format: datetime.now().strftime(format),  # local time, as in transformers
        dict=Dict(),
        namespace=Namespace,
    )
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Without the escapes for HTML that Jinja's own filter has."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
