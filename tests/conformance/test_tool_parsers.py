"""Every family's parser on every case, however the text is cut."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.tool_cases import TOOLS, ToolCase, all_cases
from fixtures.tool_cases.vocabulary import byte_tokenizer
from inglenook.text.detokenizer import Detokenizer
from inglenook.text.output import ParsedText
from inglenook.text.tool_formats import registry

CASES = all_cases()
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


class Assembled:
    """What a client makes of the pieces, after checking that they have OpenAI's shape."""

    def __init__(self, pieces: Iterable[ParsedText]) -> None:
        self.content = ""
        self.ids: list[str] = []
        self.names: list[str] = []
        self.arguments: list[str] = []
        for piece in pieces:
            assert not piece.reasoning
            self.content += piece.content
            for delta in piece.tool_calls:
                if delta.id is not None:
                    assert delta.index == len(self.ids) and delta.name and not delta.arguments
                    self.ids.append(delta.id)
                    self.names.append(delta.name)
                    self.arguments.append("")
                else:
                    assert delta.index == len(self.ids) - 1 and delta.name is None and delta.arguments
                    self.arguments[-1] += delta.arguments

    def check(self, case: ToolCase) -> None:
        assert self.content == case.content
        assert tuple(zip(self.names, self.arguments, strict=True)) == case.calls
        assert len(set(self.ids)) == len(self.ids)
        assert all(len(call_id) >= 9 and re.fullmatch(r"[\w.:-]+", call_id) for call_id in self.ids)


def parsed(case: ToolCase, pieces: Iterable[str]) -> list[ParsedText]:
    parser = registry.find(case.format).parser(TOOLS)
    return [*map(parser.push, pieces), parser.finish()]


@each_case
def test_the_whole_text(case: ToolCase) -> None:
    Assembled(parsed(case, [case.text])).check(case)


@each_case
def test_every_character_by_itself(case: ToolCase) -> None:
    Assembled(parsed(case, case.text)).check(case)


@each_case
def test_cut_in_two_anywhere(case: ToolCase) -> None:
    for cut in range(len(case.text)):
        Assembled(parsed(case, [case.text[:cut], case.text[cut:]])).check(case)


@each_case
def test_every_byte_by_itself(case: ToolCase) -> None:
    tokenizer = byte_tokenizer(())
    detokenizer = Detokenizer(tokenizer)
    ids = tokenizer.encode(case.text, add_special_tokens=False)
    assert len(ids) == len(case.text.encode())
    Assembled(parsed(case, [*map(detokenizer.push, ids), detokenizer.flush()])).check(case)


@each_case
def test_special_tokens_are_what_calls_are_made_of(case: ToolCase) -> None:
    tokenizer = byte_tokenizer(registry.find(case.format).special_tokens)
    detokenizer = Detokenizer(tokenizer, skip_special_tokens=False)
    ids = tokenizer.encode(case.text, add_special_tokens=False)
    Assembled(parsed(case, [*map(detokenizer.push, ids), detokenizer.flush()])).check(case)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_text_is_kept_however_it_is_cut(data: st.DataObject) -> None:
    """Pieces of cases in any order: one cut gives what another gives, and without calls nothing is lost."""
    name = data.draw(st.sampled_from(sorted({case.format for case in CASES})))
    cases = [case for case in CASES if case.format == name]
    parts = data.draw(st.lists(st.sampled_from([part for case in cases for part in _parts(case.text)]), max_size=8))
    text = "".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=10)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole, cut = Assembled(parsed(cases[0], [text])), Assembled(parsed(cases[0], pieces))
    assert (whole.content, whole.names, whole.arguments) == (cut.content, cut.names, cut.arguments)
    if not whole.ids and cases[0].format not in ("functionary_v3.2", "openai"):  # which drop recipients
        assert whole.content == text


def _parts(text: str) -> list[str]:
    return [text[start:end] for start in range(0, len(text), 7) for end in (start + 7, len(text))]


@pytest.mark.parametrize("name", sorted({case.format for case in CASES}))
def test_text_is_held_only_where_a_call_can_begin(name: str) -> None:
    """Words without any character that a mark begins with come out at once, once the answer has begun."""
    parser = registry.find(name).parser(TOOLS)
    parser.push("Hm.")
    for word in ("bread", " salt", " 12", "\n", "ébène 😀"):
        assert parser.push(word).content.endswith(word[-1])


@pytest.mark.parametrize("name", sorted({case.format for case in CASES}))
def test_arguments_come_as_they_are_written(name: str) -> None:
    case = next(case for case in CASES if case.format == name and case.is_cut)
    parser = registry.find(name).parser(TOOLS)
    parser.push(case.text)
    assert [delta.arguments for delta in parser.push("ris").tool_calls] == ["ris"]
