"""Deltas of any kind, cut anywhere: the events fit together, and say what the whole answer says."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.response_schemas import check_event, check_order, check_response
from inglenook.dialects.json_fields import Fields
from inglenook.dialects.openai.answers import encode_json
from inglenook.dialects.responses import wire
from inglenook.dialects.responses.answers import ResponseEvents, ResponseWriter, whole_response
from inglenook.dialects.responses.messages import to_messages
from inglenook.dialects.responses.replay import replayed
from inglenook.dialects.responses.requests import read_response
from inglenook.errors import EngineError
from inglenook.types import Delta, TokenLogprob, ToolCallDelta, Usage

CUSTOM = frozenset(("c",))
TEXT = st.text(max_size=5)


def skeleton() -> wire.Response:
    body = {"input": "Hi", "model": "m", "tools": [{"type": "custom", "name": "c"}]}
    return read_response(Fields(body), "resp_0123456789abcdef", 1_700_000_000).skeleton


def token(text: str) -> TokenLogprob:
    return TokenLogprob(1, text, text.encode(), -0.5)


@st.composite
def answers(draw: st.DrawFn) -> list[Delta]:
    """Thinking, texts and calls in any order; a call's pieces follow each other."""
    deltas: list[Delta] = []
    calls = count()
    for kind in draw(st.lists(st.sampled_from(("thought", "text", "both", "call", "custom", "nothing")), max_size=8)):
        if kind == "call":
            index = next(calls)
            pieces = draw(st.lists(TEXT, max_size=3))
            deltas.append(Delta(tool_calls=(ToolCallDelta(index, f"call_{index}", "f"),)))
            deltas += [Delta(tool_calls=(ToolCallDelta(index, arguments=piece),)) for piece in pieces]
        elif kind == "custom":
            index, text = next(calls), draw(TEXT)
            arguments = json.dumps({"input": text})
            deltas.append(Delta(tool_calls=(ToolCallDelta(index, f"call_{index}", "c", arguments),)))
        else:
            text, thought = draw(TEXT), draw(TEXT)
            deltas.append(
                Delta(
                    text=text if kind in ("text", "both") else "",
                    reasoning=thought if kind in ("thought", "both") else "",
                    logprobs=(token("</think>"), token(text)) if kind == "both" and text else (),
                )
            )
    reason = draw(st.sampled_from(("stop", "length")))
    return [*deltas, Delta(finish_reason=reason, usage=Usage(7, 3, 2, 1))]  # type: ignore[arg-type]


def as_json(told: list[Any]) -> list[dict[str, Any]]:
    events = [json.loads(encode_json(event)) for event in told]
    for event in events:
        check_event(event)
    check_order(events)
    return events


@settings(deadline=None)
@given(deltas=answers())
def test_streamed_whole_and_replayed_are_one(deltas: list[Delta]) -> None:
    whole = whole_response(ResponseWriter(skeleton(), custom=CUSTOM), deltas)
    body = check_response(json.loads(encode_json(whole)))
    stream = ResponseEvents(ResponseWriter(skeleton(), custom=CUSTOM))
    told = [event for delta in deltas for event in stream.encode(delta)]
    assert as_json(told + stream.end(whole))[-1]["response"] == body
    assert as_json(replayed(encode_json(whole)))[-1]["response"] == body
    items = body["output"]
    texts = [item["content"][0]["text"] for item in items if item["type"] == "message"]
    assert "".join(texts) == "".join(delta.text for delta in deltas)
    thoughts = [item["content"][0]["text"] for item in items if item["type"] == "reasoning"]
    assert "".join(thoughts) == "".join(delta.reasoning for delta in deltas)
    logprobs = [entry for item in items if item["type"] == "message" for entry in item["content"][0]["logprobs"]]
    assert all(entry["token"] != "</think>" for entry in logprobs)


@settings(deadline=None)
@given(deltas=answers(), cut=st.integers(0, 10))
def test_an_answer_that_breaks_off(deltas: list[Delta], cut: int) -> None:
    stream = ResponseEvents(ResponseWriter(skeleton(), custom=CUSTOM))
    told = [event for delta in deltas[:cut] for event in stream.encode(delta)]
    events = as_json(told + stream.fail(EngineError("It broke.")))
    assert events[-1]["response"]["status"] == "failed"


@settings(deadline=None)
@given(deltas=answers())
def test_an_answer_goes_back_as_one_or_more_turns(deltas: list[Delta]) -> None:
    """Nothing of it is lost between the templates and the client."""
    whole = whole_response(ResponseWriter(skeleton(), custom=CUSTOM), deltas)
    items = json.loads(encode_json(whole))["output"]
    messages = to_messages("Be brief.", [*items, {"type": "message", "role": "user", "content": []}])
    assert (messages[0].role, messages[-1].role) == ("system", "user")
    turns = messages[1:-1]
    assert {message.role for message in turns} == {"assistant"}
    assert "".join(message.content or "" for message in turns) == "".join(delta.text for delta in deltas)
    calls = [call["id"] for message in turns for call in message.extra.get("tool_calls", ())]
    assert calls == [item["call_id"] for item in items if "call_id" in item]
    thoughts = "".join(message.extra.get("reasoning_content", "") for message in turns)
    assert thoughts.replace("\n", "") == "".join(delta.reasoning for delta in deltas).replace("\n", "")
