"""The beginning of a chat's answer where the request wants to see what it carries on."""

from __future__ import annotations

from inglenook.types import ChatRequest

_ANSWERS = "assistant"


def echoed_message(request: ChatRequest) -> tuple[str, tuple[str, ...]]:
    """The last message's text, if the role that said it goes on (vLLM's rule), and warnings where there is none."""
    last = request.messages[-1] if request.messages else None
    if last is None or (request.add_generation_prompt and last.role != _ANSWERS):
        return "", ("echo has no effect: the answer opens a turn of its own, and the last message isn't the model's.",)
    return last.content or "", ()
