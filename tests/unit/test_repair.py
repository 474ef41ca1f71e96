from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.text.repair import repair_output

TAGS = ("[/CONTENT]",)
GOOD = '[CONTENT]\n{\n    "Language": "en_us",\n    "Tasks": ["a", "b"]\n}\n[/CONTENT]'


def tagged(payload: str) -> str:
    return f"[CONTENT]\n{payload}\n[/CONTENT]"


@pytest.mark.parametrize(
    ("text", "keys", "repaired"),
    [
        ('{"language": 1, "x": {"language": 2}}', ["Language"], '{"Language": 1, "x": {"Language": 2}}'),
        ('{"LANGUAGE": 1, "language": 2}', ["Language"], '{"Language": 1, "language": 2}'),
        ('{"Language": 1, "language": 2}', ["Language"], '{"Language": 1, "language": 2}'),
        ('{"a": "language"}', ["Language"], '{"a": "language"}'),
        ('{"a": "\\"language\\": 1"}', ["Language"], '{"a": "\\"language\\": 1"}'),
        ("{'required python packages': []}", ["Required Python packages"], '{"Required Python packages": []}'),
        ("{language: 1}", ["Language"], '{"Language": 1}'),
        ('[content]\n{"a": 1}\n[/Content]', TAGS, tagged('{"a": 1}')),
    ],
)
def test_case_of_keys(text: str, keys: list[str], repaired: str) -> None:
    assert repair_output(text, keys=keys) == repaired


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '{"a": 1}\n[/CONTENT]',
        '[CONTENT]\n{"a": 1}',
        '[CONTENT]\n{"a": 1}\n\nI hope that this helps.',
        '[CONTENT]\n{"a": 1}\n[CONTENT]',
        '[CONTENT]\n[CONTENT]\n{"a": 1}\n[/CONTENT]\n[/CONTENT]',
        'Here you are:\n[CONTENT]\n{"a": 1}\n[/CONTENT]\nDone. [CONTENT]{"a": 2}[/CONTENT]',
        'Here you are:\n{"a": 1}\n[/CONTENT]',
        'Here you are:\n{"a": 1}',
        '[CONTENT]\n```json\n{"a": 1}\n```\n[/CONTENT]',
        '[CONTENT]{"a": 1}[/CONTENT]',
        '[/CONTENT]\n[CONTENT]\n{"a": 1}',
    ],
)
def test_tags(text: str) -> None:
    assert repair_output(text, keys=TAGS) == tagged('{"a": 1}')


def test_tags_of_another_name_and_around_other_text() -> None:
    assert repair_output("[CODE]\nprint(1)\n", keys=["[CODE]"]) == "[CODE]\nprint(1)\n[/CODE]"
    assert repair_output("a [CONTENT]\n# Title\n[/CONTENT] b") == "[CONTENT]\n# Title\n[/CONTENT]"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # ends
        ('[{"a": 1}', {"a": 1}),
        ('{"a": 1}]', {"a": 1}),
        ('{"a": 1]', {"a": 1}),
        ('{"a": [1, 2]]', {"a": [1, 2]}),
        # comments
        ('{"a": 1, # one\n "b": "# no, // no"} // end', {"a": 1, "b": "# no, // no"}),
        ("{'a': 'http://x#y', // one\n 'b': 2}", {"a": "http://x#y", "b": 2}),
        # lenient parse
        ("{'a': 'b'}", {"a": "b"}),
        ('{"a": """say "b"\nand c"""}', {"a": 'say "b"\nand c'}),
        ("{'a': '''say \"b\"\nand c'''}", {"a": 'say "b"\nand c'}),
        ('{"a": "b\tc\nd"}', {"a": "b\tc\nd"}),
        # by the error's position
        ('{\n"a": ["b"],\n],\n"c": 1}', {"a": ["b"], "c": 1}),
        ('{\n"a": ["b"],],\n"c": 1}', {"a": ["b"], "c": 1}),
        ('{\n"a": {"b": 1},},\n"c": 1}', {"a": {"b": 1}, "c": 1}),
        ('{"a": 1},', {"a": 1}),
        ('{"a": 1 "b": 2}', {"a": 1, "b": 2}),
        ('{"a": "say "b" and", "c": 1}', {"a": 'say "b" and', "c": 1}),
        ('{\n"a": "b\n"c": 2\n}', {"a": "b", "c": 2}),
        ('{\n"c": 2,\n"a": "b\n}', {"a": "b", "c": 2}),
        ('{\n"a": "b"\n"c": 2\n}', {"a": "b", "c": 2}),
        ('{\n"a": "b,\n"c": 2\n}', {"a": "b", "c": 2}),
        ('{\n"a": "b"\n,\n"c": 2\n}', {"a": "b", "c": 2}),
        ('{\n"a": b",\n"c": 2\n}', {"a": "b", "c": 2}),
        # cut off
        ('{"a": [1, {"b": "x', {"a": [1, {"b": "x"}]}),
        ('{"a": {"b": 1}, "c": "x', {"a": {"b": 1}, "c": "x"}),
        ('```json\n{"a": 1,}\n```', {"a": 1}),
    ],
)
@pytest.mark.parametrize("keys", [(), TAGS])
def test_json(text: str, value: Any, keys: tuple[str, ...]) -> None:
    repaired = repair_output(text, keys=keys)
    if keys:
        assert repaired.startswith("[CONTENT]\n") and repaired.endswith("\n[/CONTENT]")
        repaired = repaired[len("[CONTENT]\n") : -len("\n[/CONTENT]")]
    assert json.loads(repaired) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello {name}, see [1].",
        "[1] Smith, 2020",
        "{x} is a set",
        'Use {"a": 1} there',
        '{"a": 1} is it',
        "{'a': 1} is it",
        "```python\nx = {'a': 1}\n```",
        '{"a": "é😀\\u00e9", "b": [1.50, 1e5, null]}',
        "[[" * 5000,
        "{" * 100_000,
    ],
)
def test_what_stays_as_it_is(text: str) -> None:
    assert repair_output(text) == text


def test_chatter_goes_where_keys_are_given() -> None:
    assert repair_output('Sure:\n{"A": 1}\nDone.', keys=["a"]) == '{"a": 1}'
    assert repair_output("Nothing {here}", keys=["a"]) == "Nothing {here}"


def test_half_characters_can_be_sent() -> None:
    repair_output(r"{'a': '\ud83d'}").encode()


@pytest.mark.parametrize("keys", [(), TAGS, ("Language", "Tasks", "[CONTENT]")])
def test_good_output_stays(keys: tuple[str, ...]) -> None:
    assert repair_output(GOOD, keys=keys) == GOOD


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
KEYS = st.lists(st.sampled_from(["Language", "a", "[CONTENT]", "[/CONTENT]", "(", "[x]", ""]))
PIECES = st.lists(
    st.sampled_from(
        ["[CONTENT]", "[/CONTENT]", "{", "}", "[", "]", '"', "'", '"a": ', ",", "\n", "#", "//", '"""', "```", "b"]
    )
    | st.text(max_size=5)
)


@given(JSON, st.sampled_from([None, 2]))
def test_valid_json_stays(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    assert "[CONTENT]" in text or repair_output(text) == text


@given(PIECES, KEYS)
def test_any_text(pieces: list[str], keys: list[str]) -> None:
    """Never raises, and what is mended is left alone."""
    once = repair_output("".join(pieces), keys=keys)
    assert repair_output(once, keys=keys) == once


@given(JSON.filter(lambda value: isinstance(value, dict) and value), st.data())
def test_cut_objects_parse(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value)
    cut = text[: data.draw(st.integers(3, len(text)))]
    repaired = repair_output(cut)
    assert repaired == cut or isinstance(json.loads(repaired), dict | list)
