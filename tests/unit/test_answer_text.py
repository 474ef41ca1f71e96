"""A choice whose text a parser splits: thinking, calls, what is held back, and the tokens of all of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.backends.answer_parsers import Mended, WithoutReasoning
from inglenook.backends.choice import Choice
from inglenook.engine.request import EngineOutput, SampledToken
from inglenook.text.output import OutputParser, ParsedText
from inglenook.text.tokenizer import Tokenizer
from inglenook.text.tool_formats import registry
from inglenook.types import Delta, SamplingParams, Tool

TOKENIZER = Tokenizer.dummy(300)  # ids below 256 are bytes
CALL = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
F = Tool("f", {}, parameters={"type": "object", "properties": {"x": {"type": "integer"}}})


def parser() -> OutputParser:
    return registry.find("hermes").parser([F])


class Shouting:
    """Thinking is in capitals."""

    def push(self, text: str) -> ParsedText:
        return ParsedText("".join(filter(str.isupper, text)), "".join(c for c in text if not c.isupper()))

    def finish(self) -> ParsedText:
        return ParsedText("X", "!")


def answer(
    text: str, sizes: list[int], parser: OutputParser | None, reason: str = "stop", **params: object
) -> list[Delta]:
    sampling = SamplingParams(logprobs=0, **params)  # type: ignore[arg-type]
    choice = Choice(0, TOKENIZER, sampling, is_continuation=True, parser=parser)
    rest = [SampledToken(token_id, -0.5) for token_id in text.encode()]
    outputs = []
    for size in sizes:
        outputs.append(EngineOutput("r", tuple(rest[:size])))
        rest = rest[size:]
    deltas = []
    for output in [*outputs, EngineOutput("r", tuple(rest), reason)]:  # type: ignore[arg-type]
        delta = choice.take(output)
        if delta is not None:
            deltas.append(delta)
        if choice.is_finished:
            break
    return deltas


def content(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def calls(deltas: list[Delta]) -> list[tuple[str, str]]:
    found: dict[int, list[str]] = {}
    for piece in (piece for delta in deltas for piece in delta.tool_calls):
        call = found.setdefault(piece.index, ["", ""])
        call[0] += piece.name or ""
        call[1] += piece.arguments
    return [(name, arguments) for name, arguments in found.values()]


@given(st.sampled_from(["So: " + CALL, CALL + "\n" + CALL, "no call <tool", CALL[:-20]]), st.lists(st.integers(0, 9)))
def test_no_token_is_lost_however_it_is_cut(text: str, sizes: list[int]) -> None:
    deltas = answer(text, sizes, parser())
    assert b"".join(entry.bytes for delta in deltas for entry in delta.logprobs) == text.encode()
    assert [token_id for delta in deltas for token_id in delta.token_ids] == list(text.encode())
    assert [delta.finish_reason is not None for delta in deltas] == [False] * (len(deltas) - 1) + [True]
    whole = answer(text, [], parser())
    assert (content(deltas), calls(deltas)) == (content(whole), calls(whole))


@pytest.mark.parametrize(
    ("text", "reason", "expected"),
    [
        (CALL, "stop", "tool_calls"),
        ("Hello", "stop", "stop"),
        (CALL, "length", "length"),
        (CALL[:-20], "length", "length"),
        (CALL[:-20], "stop", "stop"),  # cut by something else: no whole call, so it isn't called one
        (CALL + CALL[:-20], "stop", "stop"),
    ],
)
def test_how_it_ends(text: str, reason: str, expected: str) -> None:
    assert answer(text, [], parser(), reason)[-1].finish_reason == expected


def test_a_stop_string_in_a_call_is_no_call() -> None:
    deltas = answer(CALL, [], parser(), stop=('": 1',))
    assert (deltas[-1].finish_reason, deltas[-1].stop_reason) == ("stop", '": 1')
    assert calls(deltas) == [("f", '{"x')]


def test_plain_text_is_not_held_back() -> None:
    deltas = answer("Hello there", [1] * 10, parser())
    assert [delta.text for delta in deltas[:5]] == list("Hello")


def test_tokens_of_what_is_held_back_come_with_what_follows() -> None:
    deltas = answer("ab<tool_c", [1] * 9, parser())
    for first, second in pairwise(deltas):
        assert first.text and second.text
    assert [len(delta.token_ids) for delta in deltas] == [1, 1, 7]


def test_thinking_left_out() -> None:
    assert answer("aBcD", [1, 1, 1], Shouting())[-1].reasoning == "DX"
    deltas = answer("aBcD", [1, 1, 1], WithoutReasoning(Shouting()))
    assert (content(deltas), {delta.reasoning for delta in deltas}) == ("ac!", {""})
    assert sum(len(delta.token_ids) for delta in deltas) == 4


def test_mended_content_comes_at_once() -> None:
    deltas = answer("abc", [1, 1], Mended(None, str.upper))
    assert [delta.text for delta in deltas] == ["ABC"]
    deltas = answer("So: " + CALL, [1] * 30, Mended(parser(), str.upper))
    assert [delta.text for delta in deltas if delta.text] == ["SO: "]
    assert calls(deltas) == [("f", '{"x": 1}')]
    assert deltas[-1].finish_reason == "tool_calls"
    assert deltas[-1].text == "SO: "
    assert [delta.text for delta in answer("", [], Mended(None, str.upper))] == [""]
