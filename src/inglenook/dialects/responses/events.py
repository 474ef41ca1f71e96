"""The events of a streamed Response. Each has its number in the stream; `type` is its name on the wire, too."""

from __future__ import annotations

from msgspec import Struct

from inglenook.dialects.openai.wire import ChatTokenLogprob
from inglenook.dialects.responses import wire


class Event(Struct, kw_only=True):
    sequence_number: int = 0

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)


# --- of the whole answer --------------------------------------------------------------------------


class Created(Event, kw_only=True, tag_field="type", tag="response.created"):
    response: wire.Response


class InProgress(Event, kw_only=True, tag_field="type", tag="response.in_progress"):
    response: wire.Response


class Completed(Event, kw_only=True, tag_field="type", tag="response.completed"):
    response: wire.Response


class Incomplete(Event, kw_only=True, tag_field="type", tag="response.incomplete"):
    response: wire.Response


class Failed(Event, kw_only=True, tag_field="type", tag="response.failed"):
    response: wire.Response


# --- of an item, of a part of it -----------------------------------------------------------------


class ItemAdded(Event, kw_only=True, tag_field="type", tag="response.output_item.added"):
    output_index: int
    item: wire.OutputItem


class ItemDone(Event, kw_only=True, tag_field="type", tag="response.output_item.done"):
    output_index: int
    item: wire.OutputItem


class PartAdded(Event, kw_only=True, tag_field="type", tag="response.content_part.added"):
    item_id: str
    output_index: int
    content_index: int
    part: wire.OutputText | wire.ReasoningText


class PartDone(Event, kw_only=True, tag_field="type", tag="response.content_part.done"):
    item_id: str
    output_index: int
    content_index: int
    part: wire.OutputText | wire.ReasoningText


# --- of what a part holds ------------------------------------------------------------------------


class TextDelta(Event, kw_only=True, tag_field="type", tag="response.output_text.delta"):
    item_id: str
    output_index: int
    content_index: int
    delta: str
    logprobs: list[ChatTokenLogprob]


class TextDone(Event, kw_only=True, tag_field="type", tag="response.output_text.done"):
    item_id: str
    output_index: int
    content_index: int
    text: str
    logprobs: list[ChatTokenLogprob]


class ReasoningDelta(Event, kw_only=True, tag_field="type", tag="response.reasoning_text.delta"):
    item_id: str
    output_index: int
    content_index: int
    delta: str


class ReasoningDone(Event, kw_only=True, tag_field="type", tag="response.reasoning_text.done"):
    item_id: str
    output_index: int
    content_index: int
    text: str


class ArgumentsDelta(Event, kw_only=True, tag_field="type", tag="response.function_call_arguments.delta"):
    item_id: str
    output_index: int
    delta: str


class ArgumentsDone(Event, kw_only=True, tag_field="type", tag="response.function_call_arguments.done"):
    item_id: str
    output_index: int
    name: str
    arguments: str


class InputDelta(Event, kw_only=True, tag_field="type", tag="response.custom_tool_call_input.delta"):
    item_id: str
    output_index: int
    delta: str


class InputDone(Event, kw_only=True, tag_field="type", tag="response.custom_tool_call_input.done"):
    item_id: str
    output_index: int
    input: str


# --- of what went wrong --------------------------------------------------------------------------


class Error(Event, kw_only=True, tag_field="type", tag="error"):
    code: str | None
    message: str
    param: str | None


AnyEvent = (
    Created
    | InProgress
    | Completed
    | Incomplete
    | Failed
    | ItemAdded
    | ItemDone
    | PartAdded
    | PartDone
    | TextDelta
    | TextDone
    | ReasoningDelta
    | ReasoningDone
    | ArgumentsDelta
    | ArgumentsDone
    | InputDelta
    | InputDone
    | Error
)
