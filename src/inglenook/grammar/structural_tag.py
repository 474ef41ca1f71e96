"""Structural tags: free text in which marked parts are held to schemas. vLLM's and SGLang's two forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inglenook.errors import InvalidRequestError
from inglenook.grammar.body import Body
from inglenook.grammar.content import json_expression, regex
from inglenook.grammar.free_text import RULES, TEXT, free_text, text_up_to
from inglenook.grammar.grammar_text import lark_grammar
from inglenook.grammar.json_schema import prepare_schema
from inglenook.lark import CallBlock, Lark, literal

MAX_FORMATS = 1_000
MAX_DEPTH = 50


def structural_tag(value: Any, special_tokens: Mapping[str, int], *, param: str) -> Body:
    """{"structures": [{begin, schema, end}], "triggers": [...]}, or {"type": "structural_tag", "format": {...}}.

    Raises InvalidRequestError with `param`, naming what isn't known.
    """
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f"{param} must be an object.", param=param)
    writer = _Writer(special_tokens, param)
    if "structures" in value:
        tags = [
            {**tag, "content": {"type": "json_schema", "json_schema": tag.get("schema", {})}}
            if isinstance(tag, Mapping)
            else tag
            for tag in writer.items(value, "structures")
        ]
        expression = writer.expression({"type": "triggered_tags", "triggers": value.get("triggers"), "tags": tags}, "")
    else:
        expression = writer.expression(writer.part(value, "format"), "")
    return Body(Lark(expression, tuple(writer.rules)), writer.grammars)


class _Writer:
    """Collects the rules of one tag. `end` below: the text that follows; "" where the answer ends; None: unknown."""

    def __init__(self, special_tokens: Mapping[str, int], param: str) -> None:
        self._special_tokens = special_tokens
        self._param = param
        self._num_formats = self._num_names = 0
        self._depth = 0
        self.rules: list[str] = []
        self.grammars: dict[str, str] = {}
        self._kinds: dict[str, Callable[[Mapping[str, Any], str | None], str]] = {
            "any_text": self._any_text,
            "sequence": self._sequence,
            "or": self._or,
            "tag": self._tag,
            "triggered_tags": self._triggered_tags,
            "tags_with_separator": self._tags_with_separator,
        }
        self._leaves: dict[str, Callable[[Mapping[str, Any]], str]] = {
            "const_string": lambda format: literal(self.text(format, "value"), self._special_tokens),
            "json_schema": self._json_schema,
            "regex": self._regex,
            "grammar": self._grammar,
        }

    def expression(self, format: Mapping[str, Any], end: str | None) -> str:
        kind = self.text(format, "type")
        self._num_formats += 1
        if self._num_formats > MAX_FORMATS or self._depth > MAX_DEPTH:
            raise self._error(f"more than {MAX_FORMATS} formats, or deeper than {MAX_DEPTH}")
        if format.get("excludes"):
            raise self._error("'excludes' isn't supported")
        if kind in self._leaves:
            return self._joined(self._leaves[kind](format), end)
        if kind not in self._kinds:
            known = ", ".join(sorted((*self._kinds, *self._leaves)))
            raise self._error(f"the format {kind[:50]!r} isn't supported; supported are {known}")
        self._depth += 1
        expression = self._kinds[kind](format, end)
        self._depth -= 1
        return expression

    def _any_text(self, format: Mapping[str, Any], end: str | None) -> str:
        if end is None:
            raise self._error("'any_text' must be the last of its tag, or of everything")
        lark = text_up_to(self._name(), end, self._special_tokens) if end else Lark(TEXT, RULES)
        self.rules += lark.rules
        return lark.expression

    def _sequence(self, format: Mapping[str, Any], end: str | None) -> str:
        *before, last = self.items(format, "elements")
        return " ".join([*(self.expression(element, None) for element in before), self.expression(last, end)])

    def _or(self, format: Mapping[str, Any], end: str | None) -> str:
        return f"({' | '.join(self.expression(element, end) for element in self.items(format, 'elements'))})"

    def _tag(self, format: Mapping[str, Any], end: str | None) -> str:
        begin = literal(self.text(format, "begin"), self._special_tokens)
        return self._joined(f"{begin} {self._inside(format)}", end)

    def _inside(self, tag: Mapping[str, Any]) -> str:
        """A tag's content and its end."""
        return self.expression(self.part(tag, "content"), self.text(tag, "end") or None)

    def _triggered_tags(self, format: Mapping[str, Any], end: str | None) -> str:
        if end != "":
            raise self._error("'triggered_tags' must be the last of everything")
        triggers = format.get("triggers")
        if (
            not isinstance(triggers, Sequence)
            or isinstance(triggers, str)
            or not all(isinstance(t, str) for t in triggers)
        ):
            raise self._error("'triggers' must be a list of strings")
        blocks = [self._block(tag, triggers) for tag in self.items(format, "tags")]
        text = free_text(
            self._name(), blocks, self._special_tokens, is_repeated=not format.get("stop_after_first", False)
        )
        self.rules += text.rules
        if not format.get("at_least_one", False):
            return text.expression
        first = " | ".join(
            f"{literal(block.trigger, self._special_tokens)} {block.body.expression}" for block in blocks
        )
        return f"({first})" if format.get("stop_after_first", False) else f"({first}) {text.expression}"

    def _block(self, tag: Mapping[str, Any], triggers: Sequence[str]) -> CallBlock:
        begin = self.text(tag, "begin")
        found = [trigger for trigger in triggers if trigger and begin.startswith(trigger)]
        if not found:
            raise self._error(f"the tag that begins with {begin[:50]!r} has no trigger")
        length = len(max(found, key=len))
        for name in self._special_tokens:  # a special token comes as a whole
            at = begin.find(name)
            if 0 <= at < length < at + len(name):
                length = at + len(name)
        rest = literal(begin[length:], self._special_tokens)
        return CallBlock(begin[:length], Lark(f"{rest} {self._inside(tag)}".strip()))

    def _tags_with_separator(self, format: Mapping[str, Any], end: str | None) -> str:
        tags = f"({' | '.join(self._tag(tag, None) for tag in self.items(format, 'tags'))})"
        if not format.get("stop_after_first", False):
            tags = f"({tags} ({literal(self.text(format, 'separator'), self._special_tokens)} {tags})*)"
        return self._joined(tags if format.get("at_least_one", False) else f"{tags}?", end)

    def _json_schema(self, format: Mapping[str, Any]) -> str:
        return self._rule(json_expression(prepare_schema(format.get("json_schema"), param=self._param)))

    def _regex(self, format: Mapping[str, Any]) -> str:
        lark = regex(format.get("pattern"), self._name(), self._param)
        self.rules += lark.rules
        return lark.expression

    def _grammar(self, format: Mapping[str, Any]) -> str:
        name = self._name()
        self.grammars[name] = lark_grammar(format.get("grammar"), param=self._param)
        return f"@{name}"

    def _joined(self, expression: str, end: str | None) -> str:
        return f"{expression} {literal(end or '', self._special_tokens)}".strip()

    def _rule(self, expression: str) -> str:
        name = self._name()
        self.rules.append(f"{name}: {expression}")
        return name

    def _name(self) -> str:
        self._num_names += 1
        return f"tag_{self._num_names}"

    def text(self, value: Mapping[str, Any], key: str) -> str:
        text = value.get(key)
        if not isinstance(text, str):
            raise self._error(f"{key!r} must be a string")
        return text

    def part(self, value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        part = value.get(key)
        if not isinstance(part, Mapping):
            raise self._error(f"{key!r} must be an object")
        return part

    def items(self, value: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
        items = value.get(key)
        if not isinstance(items, Sequence) or not items or not all(isinstance(item, Mapping) for item in items):
            raise self._error(f"{key!r} must be a list of objects, with one at least")
        return list(items)

    def _error(self, text: str) -> InvalidRequestError:
        return InvalidRequestError(f"{self._param}: {text}.", param=self._param)
