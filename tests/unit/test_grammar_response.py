"""The grammar of a whole answer: thinking, free text, calls, and what a constraint says."""

import pytest

from fixtures.grammars import allowed, small_compiler, small_tokenizer, small_vocabulary
from inglenook.errors import InvalidRequestError
from inglenook.grammar.body import Body
from inglenook.grammar.constraint import constraint_body
from inglenook.grammar.content import JsonStyle
from inglenook.grammar.response import Reasoning, response_grammar
from inglenook.lark import CallBlock, Lark, json_value, literal
from inglenook.types import Constraint

ARGUMENTS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
RULE = f"arguments_0: {json_value(ARGUMENTS)}"


def block(trigger: str, before: str, after: str, *, is_first: bool = False) -> CallBlock:
    body = Lark(f"{literal(before, {})} arguments_0 {literal(after, {})}", (RULE,))
    return CallBlock(trigger, body, is_first)


TEXT = block("<tool_call>", "\n", "\n</tool_call>")
SPECIAL = block("<tool call>", "[", "]")
FIRST = block('{"name": "', 'f", "parameters": ', "}", is_first=True)
CALL = '<tool_call>\n{"a": 1}\n</tool_call>'
OPEN, CLOSED = Reasoning("<think>", "</think>", True), Reasoning("<think>", "</think>", False)


def after(text: str, **parts: object) -> str | None:
    """What is forced after a text, "." for the end and "?" for a choice; None where the text isn't allowed."""
    vocabulary = small_vocabulary()
    grammar = response_grammar(special_tokens=vocabulary.special_tokens, **parts)  # type: ignore[arg-type]
    guide = small_compiler().compile(grammar, param="p").start()
    ids = vocabulary.mark(text)
    if guide.count_allowed(ids) < len(ids):
        return None
    guide.accept(ids)
    if guide.is_finished:
        return "."
    may_end = not vocabulary.end_ids.isdisjoint(allowed(guide, vocabulary))
    return small_tokenizer().decode(guide.forced(), skip_special_tokens=False) or ("?." if may_end else "?")


FORCED = '\n{"a":'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello <tool", "?."),
        ("Hello <tool_call>", FORCED),
        (CALL, "?."),
        (f"a {CALL} b {CALL}", "?."),
        (f"{CALL}<tool_call>", FORCED),
        ("Hello <tool call>", None),
    ],
)
def test_calls_in_free_text(text: str, expected: str | None) -> None:
    assert after(text, blocks=[TEXT]) == expected


def test_one_call_and_nothing_behind_it() -> None:
    assert after(f"a {CALL}", blocks=[TEXT], is_parallel=False) == "."


def test_a_special_token_begins_a_call_and_its_name_does_not() -> None:
    assert after("a <tool call>", blocks=[SPECIAL, TEXT]) == '[{"a":'
    vocabulary = small_vocabulary()
    grammar = response_grammar(blocks=[SPECIAL], special_tokens=vocabulary.special_tokens)
    guide = small_compiler().compile(grammar, param="p").start()
    spelled = vocabulary.encode("<tool call> is")
    assert vocabulary.special_tokens["<tool call>"] not in spelled
    assert guide.count_allowed(spelled) == len(spelled)


@pytest.mark.parametrize("blocks", [[FIRST], [FIRST, TEXT]])
def test_a_block_that_counts_at_the_beginning_alone(blocks: list[CallBlock]) -> None:
    assert after('\n {"name": "', blocks=blocks) == 'f", "parameters": {"a":'
    assert after('x {"name": "g', blocks=blocks) == "?."
    assert after('{"name": "g', blocks=blocks) is None


def test_required_calls_from_the_first_token() -> None:
    assert after("", blocks=[TEXT], mode="required") == "<tool_call>" + FORCED
    assert after("Hello", blocks=[TEXT], mode="required") is None
    assert after(CALL, blocks=[TEXT], mode="required") == "?."
    assert after(f"{CALL}\n{CALL}", blocks=[TEXT], mode="required") == "?."
    assert after(f"{CALL}x", blocks=[TEXT], mode="required") is None
    assert after(CALL, blocks=[TEXT], mode="required", is_parallel=False) == "."


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_thinking_comes_first_and_is_free(mode: str) -> None:
    assert after("a <tool_call> b", blocks=[TEXT], mode=mode, reasoning=OPEN) == ("?." if mode == "auto" else "?")
    assert after("a</think>\n\n<tool_call>", blocks=[TEXT], mode=mode, reasoning=OPEN) == FORCED
    assert after("<think>a <tool_call> b</think><tool_call>", blocks=[TEXT], mode=mode, reasoning=CLOSED) == FORCED
    assert after("<tool_call>", blocks=[TEXT], mode=mode, reasoning=CLOSED) == FORCED


def test_thinking_then_what_a_schema_says() -> None:
    body = body_of("json_schema", ARGUMENTS)
    assert after("hm", body=body, reasoning=OPEN) == "?"
    assert after("hm</think>\n\n{", body=body, reasoning=OPEN) == '"a":'
    assert after('hm</think>{"a": 1}', body=body, reasoning=OPEN) == "."
    assert after("hm", body=body, reasoning=CLOSED) is None
    assert after("{", body=body, reasoning=CLOSED) == '"a":'


def test_calls_or_what_a_schema_says() -> None:
    body = body_of("json_schema", ARGUMENTS)
    assert after("{", body=body, blocks=[TEXT]) == '"a":'
    assert after('{"a": 1}', body=body, blocks=[TEXT]) == "."
    assert after("<", body=body, blocks=[TEXT]) == "tool_call>" + FORCED
    assert after("Hello", body=body, blocks=[TEXT]) is None
    assert after("{", body=body, blocks=[TEXT], mode="required") is None


def body_of(kind: str, value: object, style: JsonStyle | None = None) -> Body:
    constraint = Constraint(kind, value, "response_format")  # type: ignore[arg-type]
    special_tokens = small_vocabulary().special_tokens
    return constraint_body(constraint, special_tokens, *([style] if style else []))


OLD_TAG = {
    "structures": [
        {"begin": "<f=a>", "schema": ARGUMENTS, "end": "</f>"},
        {"begin": "<f=b>", "schema": {"type": "integer"}, "end": "</f>"},
    ],
    "triggers": ["<f="],
}
EITHER = {"type": "or", "elements": [{"type": "const_string", "value": "yes"}, {"type": "regex", "pattern": "[0-9]+"}]}
THOUGHT = {"type": "tag", "begin": "<think>", "content": {"type": "any_text"}, "end": "</think>"}
SEQUENCE = {"type": "structural_tag", "format": {"type": "sequence", "elements": [THOUGHT, EITHER]}}
LARK = 'start: "a" | "b" x\nx: /[0-9]+/'


@pytest.mark.parametrize(
    ("kind", "value", "text", "expected"),
    [
        ("json_object", None, "", "{"),
        ("json_object", None, '{"a": [1, {}]}', "."),
        ("regex", r"^\d{3}-[a-z]+$", "123-ab", "?."),
        ("regex", "^a$|^b$", "b", "."),
        ("regex", 'a/b[/]"', "", 'a/b/"'),
        ("regex", "[[]x", "", "[x"),
        ("choice", ["yes", "no"], "y", "es"),
        ("choice", ["a", "ab", ""], "", "?."),
        ("choice", ["é\n\x7f"], "é\n\x7f", "."),
        ("grammar", LARK, "b12", "?."),
        ("grammar", "?" + LARK, "a", "."),
        ("grammar", 'root ::= "a"\n   | "b" x\nx ::= [0-9]+', "b12", "?."),
        ("grammar", 'root ::= [\\u0041-\\u005A] "!"', "Q", "!"),
        ("structural_tag", OLD_TAG, "hi <f=", "?"),
        ("structural_tag", OLD_TAG, 'hi <f=a>{"a": 1}</f> and', "?."),
        ("structural_tag", SEQUENCE, "<think>hm</think>ye", "s"),
        ("structural_tag", SEQUENCE, "<think>hm", "?"),
    ],
)
def test_every_kind_of_constraint(kind: str, value: object, text: str, expected: str) -> None:
    assert after(text, body=body_of(kind, value)) == expected


def test_a_grammar_behind_thinking() -> None:
    assert after("hm</think>b1", body=body_of("grammar", LARK), reasoning=OPEN) == "?."


def test_json_with_white_space_where_a_request_says_so() -> None:
    body = body_of("json_schema", {"type": "array", "items": {"type": "integer"}}, JsonStyle(r"[ \n]{0,2}"))
    assert after("[ 1 ,\n2]", body=body) == "."


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("regex", "(?=a)b", "look-around"),
        ("regex", "a^b", "in the middle"),
        ("regex", "[a", "unclosed character class"),
        ("regex", "(((a{100}){100}){100})", "written out"),
        ("regex", 5, "must be a regular expression"),
        ("choice", [], "must be a list of strings"),
        ("choice", "yes", "must be a list of strings"),
        ("choice", ["a"] * 10_001, "at most 10000"),
        ("grammar", "", "must be a grammar"),
        ("grammar", "hiccup", "Expected token"),
        ("grammar", "start: nope", "nope"),
        ("grammar", "root ::= nope", "nope"),
        ("grammar", 'start: a\na: "x" a', "Too many items"),
        ("grammar", "start[max_tokens=3]: /a*/", "'max_tokens'"),
        ("grammar", "".join(f'r{i}: "a" r{i + 1}\n' for i in range(5000)), "more than 2000 rules"),
        ("grammar", f"root ::= {'(' * 5000}'a'{')' * 5000}", "nested too deeply"),
        ("grammar", '{"grammars": [{"lark_grammar": "start: /.*/"}]}', "expecting rule"),
        ("structural_tag", {"structures": 5}, "'structures'"),
        ("structural_tag", {"type": "structural_tag", "format": {"type": "qwen_xml_parameter"}}, "qwen_xml_parameter"),
        ("structural_tag", {"format": {"type": "sequence", "elements": [{"type": "any_text"}] * 2}}, "'any_text'"),
    ],
)
def test_what_is_no_constraint_is_a_400(kind: str, value: object, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said) as error:
        after("", body=body_of(kind, value))
    assert error.value.status == 400
