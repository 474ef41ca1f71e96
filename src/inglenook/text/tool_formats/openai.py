"""GPT-OSS: calls are messages to functions.NAME, in the channel `commentary` (text/harmony.py)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from inglenook.lark import CallBlock, Lark, literal
from inglenook.text.harmony import (
    CALL,
    CHANNEL,
    CONSTRAIN,
    ENDS,
    MESSAGE,
    SPECIAL_TOKENS,
    START,
    body_piece,
    read_header,
)
from inglenook.text.output import OutputParser
from inglenook.text.tool_formats.json_reader import read_arguments
from inglenook.text.tool_formats.reader import AnswerReader, Reading, ReadingParser
from inglenook.text.tool_formats.schemas import arguments_rule
from inglenook.types import Tool

_TO = "to=functions."


class _Harmony:
    name = "openai"
    special_tokens = SPECIAL_TOKENS

    def matches(self, template: str, vocabulary: frozenset[str]) -> bool:
        return CHANNEL in template and MESSAGE in template and "functions" in template

    def blocks(
        self, tools: Sequence[Tool], special_tokens: Mapping[str, int], *, is_parallel: bool
    ) -> tuple[CallBlock, ...]:
        """The recipient behind the channel, or behind the role; then there is `json` with or without its token."""

        def text(text: str) -> str:
            return literal(text, special_tokens)

        kind = f"({text(f' {CONSTRAIN}json')} | {text(' json')} | {text(f'{CONSTRAIN}json')})?"
        behind_channel, behind_role, rules = [], [], []
        for index, tool in enumerate(tools):
            rule, written = arguments_rule(tool, index)
            rules.append(written)
            # Where the mark that ends a call ends the answer too, it is no part of the grammar.
            end = f"{kind} {text(MESSAGE)} {rule} ({text(CALL)})?"
            behind_channel.append(f"{text(tool.name)} {end}")
            behind_role.append(f"{text(f'{tool.name}{CHANNEL}commentary')} {end}")
        return (
            CallBlock(f"{CHANNEL}commentary {_TO}", Lark(f"({' | '.join(behind_channel)})", tuple(rules))),
            CallBlock(f"{START}assistant {_TO}", Lark(f"({' | '.join(behind_role)})", tuple(rules))),
        )

    def parser(self, tools: Sequence[Tool]) -> OutputParser:
        reader = AnswerReader()
        return ReadingParser(reader, _read(reader, frozenset(tool.name for tool in tools)))


FORMAT = _Harmony()


def _read(reader: AnswerReader, names: Collection[str]) -> Reading[None]:
    while (yield from reader.peek()):
        header = yield from read_header(reader)
        name = header.recipient.removeprefix("functions.") if header is not None else ""
        if header is None:
            yield from reader.take_one(START, CHANNEL, MESSAGE)
            reader.give()
        elif name in names:
            yield from reader.spaces()
            if (yield from read_arguments(reader, name)):
                reader.drop()
                yield from reader.spaces()
                if (yield from reader.take_one(*ENDS)) is not None or (yield from reader.peek()) in ("", "<"):
                    reader.drop()
                reader.rewind()
                continue
        elif header.recipient:
            reader.give()
        else:
            reader.drop()
        while (yield from body_piece(reader)):
            reader.give()
        reader.give()
        if (yield from reader.take_one(*ENDS)) is not None:
            if header is not None and header.recipient:
                reader.give()
            reader.drop()
