"""The item of a Response that is being written: a thought, a text, a call. Each method returns the events to tell."""

from __future__ import annotations

import json

from inglenook.dialects.openai.wire import ChatTokenLogprob
from inglenook.dialects.responses import events, wire
from inglenook.dialects.responses.messages import INPUT_KEY
from inglenook.dialects.responses.thoughts import sealed

Told = list[events.Event]


class OpenItem:
    """`index` is its place in the output."""

    def __init__(self, item_id: str, index: int) -> None:
        self.id = item_id
        self.index = index
        self._pieces: list[str] = []

    def begin(self) -> Told:
        raise NotImplementedError

    def finish(self, status: wire.ItemStatus) -> tuple[wire.OutputItem, Told]:
        """The item as it is now for good, and the last that is told of it."""
        raise NotImplementedError

    def _added(self, item: wire.OutputItem) -> events.Event:
        return events.ItemAdded(output_index=self.index, item=item)

    def _done(self, item: wire.OutputItem) -> events.Event:
        return events.ItemDone(output_index=self.index, item=item)

    def _part_added(self, part: wire.OutputText | wire.ReasoningText) -> events.Event:
        return events.PartAdded(item_id=self.id, output_index=self.index, content_index=0, part=part)

    def _part_done(self, part: wire.OutputText | wire.ReasoningText) -> events.Event:
        return events.PartDone(item_id=self.id, output_index=self.index, content_index=0, part=part)


class OpenThought(OpenItem):
    is_sealed = False  # whether its text goes into encrypted_content, too

    def begin(self) -> Told:
        return [self._added(wire.ReasoningItem(self.id, "in_progress", [])), self._part_added(wire.ReasoningText(""))]

    def add(self, text: str) -> Told:
        self._pieces.append(text)
        return [events.ReasoningDelta(item_id=self.id, output_index=self.index, content_index=0, delta=text)]

    def finish(self, status: wire.ItemStatus) -> tuple[wire.OutputItem, Told]:
        text = "".join(self._pieces)
        part = wire.ReasoningText(text)
        item = wire.ReasoningItem(self.id, status, [part])
        if self.is_sealed:
            item.encrypted_content = sealed(text)
        done = events.ReasoningDone(item_id=self.id, output_index=self.index, content_index=0, text=text)
        return item, [done, self._part_done(part), self._done(item)]


class OpenText(OpenItem):
    def __init__(self, item_id: str, index: int) -> None:
        super().__init__(item_id, index)
        self._logprobs: list[ChatTokenLogprob] = []

    def begin(self) -> Told:
        return [self._added(wire.OutputMessage(self.id, "in_progress", [])), self._part_added(wire.OutputText("", []))]

    def add(self, text: str, logprobs: list[ChatTokenLogprob]) -> Told:
        self._pieces.append(text)
        self._logprobs += logprobs
        delta = events.TextDelta(
            item_id=self.id, output_index=self.index, content_index=0, delta=text, logprobs=logprobs
        )
        return [delta]

    def finish(self, status: wire.ItemStatus) -> tuple[wire.OutputItem, Told]:
        text = "".join(self._pieces)
        part = wire.OutputText(text, self._logprobs)
        item = wire.OutputMessage(self.id, status, [part])
        done = events.TextDone(
            item_id=self.id, output_index=self.index, content_index=0, text=text, logprobs=self._logprobs
        )
        return item, [done, self._part_done(part), self._done(item)]


class OpenCall(OpenItem):
    """`call_index` is the call's among the calls."""

    def __init__(self, item_id: str, index: int, call_index: int, call_id: str, name: str) -> None:
        super().__init__(item_id, index)
        self.call_index = call_index
        self._call_id = call_id
        self._name = name

    def add(self, arguments: str) -> Told:
        raise NotImplementedError


class OpenFunctionCall(OpenCall):
    def begin(self) -> Told:
        return [self._added(wire.FunctionCall(self.id, self._call_id, self._name, "", "in_progress"))]

    def add(self, arguments: str) -> Told:
        self._pieces.append(arguments)
        return [events.ArgumentsDelta(item_id=self.id, output_index=self.index, delta=arguments)]

    def finish(self, status: wire.ItemStatus) -> tuple[wire.OutputItem, Told]:
        arguments = "".join(self._pieces)
        item = wire.FunctionCall(self.id, self._call_id, self._name, arguments, status)
        done = events.ArgumentsDone(item_id=self.id, output_index=self.index, name=self._name, arguments=arguments)
        return item, [done, self._done(item)]


class OpenCustomCall(OpenCall):
    """Its text is inside the arguments, so it is told when they are complete."""

    def begin(self) -> Told:
        return [self._added(wire.CustomToolCall(self.id, self._call_id, self._name, "", "in_progress"))]

    def add(self, arguments: str) -> Told:
        self._pieces.append(arguments)
        return []

    def finish(self, status: wire.ItemStatus) -> tuple[wire.OutputItem, Told]:
        text = _input_text("".join(self._pieces))
        item = wire.CustomToolCall(self.id, self._call_id, self._name, text, status)
        delta = events.InputDelta(item_id=self.id, output_index=self.index, delta=text)
        done = events.InputDone(item_id=self.id, output_index=self.index, input=text)
        return item, [*([delta] if text else []), done, self._done(item)]


def _input_text(arguments: str) -> str:
    """What a call that was cut off has of its text is left as it was written."""
    try:
        return str(json.loads(arguments)[INPUT_KEY])
    except (ValueError, KeyError, TypeError):
        return arguments
