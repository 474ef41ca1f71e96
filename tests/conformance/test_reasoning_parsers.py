"""Every family's thinking, however the text is cut."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.reasoning_cases import CASES, WRITERS, ReasoningCase
from inglenook.text import reasoning
from inglenook.text.output import ParsedText
from inglenook.types import ToolCallDelta

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


class CallsAfterBar:
    """A stand-in for a tool parser: what comes behind a bar is arguments."""

    def __init__(self) -> None:
        self._has_bar = False

    def push(self, text: str) -> ParsedText:
        content, bar, call = text.partition("|") if not self._has_bar else ("", "", text)
        self._has_bar = self._has_bar or bool(bar)
        return ParsedText(content=content, tool_calls=(ToolCallDelta(0, arguments=call),) if call else ())

    def finish(self) -> ParsedText:
        return ParsedText(content=".")


def parsed(case: ReasoningCase, pieces: Iterable[str]) -> tuple[str, str]:
    parser = reasoning.find(case.format).parser(None, is_open=case.is_open)
    results = [*map(parser.push, pieces), parser.finish()]
    assert not any(result.tool_calls for result in results)
    return "".join(result.reasoning for result in results), "".join(result.content for result in results)


@each_case
def test_the_whole_text(case: ReasoningCase) -> None:
    assert parsed(case, [case.text]) == (case.reasoning, case.content)


@each_case
def test_every_character_by_itself(case: ReasoningCase) -> None:
    assert parsed(case, case.text) == (case.reasoning, case.content)


@each_case
def test_cut_in_two_anywhere(case: ReasoningCase) -> None:
    for cut in range(len(case.text)):
        assert parsed(case, [case.text[:cut], case.text[cut:]]) == (case.reasoning, case.content)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_one_cut_gives_what_another_gives(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(WRITERS)))
    parts = [part for case in CASES if case.format == name for part in (case.text[:9], case.text[5:], case.text)]
    text = "".join(data.draw(st.lists(st.sampled_from(parts), max_size=6)))
    is_open = data.draw(st.booleans())
    case = ReasoningCase(name, "", text, is_open=is_open)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=10)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert parsed(case, pieces) == parsed(case, [text])


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_only_what_can_be_a_mark_is_held(name: str) -> None:
    begin, end, _ = WRITERS[name]
    parser = reasoning.find(name).parser(None, is_open=False)
    assert parser.push("Q").content == "Q"
    parser = reasoning.find(name).parser(None, is_open=False)
    parser.push(begin)
    for word in ("bread", " salt", " 12", "ébène 😀"):
        assert parser.push(word).reasoning == word
    parser.push(end)
    for word in ("bread", " salt", "ébène 😀"):
        assert parser.push(word).content == word


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_the_answer_goes_through_the_parser_behind(name: str) -> None:
    begin, end, close = WRITERS[name]
    parser = reasoning.find(name).parser(CallsAfterBar(), is_open=False)
    results = [*map(parser.push, f"{begin}Hm{end}So"), parser.push("|x"), parser.push("y" + close), parser.finish()]
    assert "".join(result.reasoning for result in results) == "Hm"
    assert "".join(result.content for result in results) == "So."
    assert "".join(delta.arguments for result in results for delta in result.tool_calls) == "xy"
