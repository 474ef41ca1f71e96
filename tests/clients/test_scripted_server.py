"""What the scripted server has to do for the other tests here to mean something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai
import pytest

if TYPE_CHECKING:
    from conftest import ScriptedServer

QUESTION = [{"role": "user", "content": "What is a hearth?"}]


def test_it_says_what_it_is_told(scripted_server: ScriptedServer) -> None:
    scripted_server.play("A fireplace, of old.", "Grüße: 135.80 € …")
    client = scripted_server.server.client()
    first = client.chat.completions.create(model="smollm2:135m", messages=QUESTION, temperature=1.5, top_p=1)
    assert first.choices[0].message.content == "A fireplace, of old."
    assert first.choices[0].finish_reason == "stop"
    with client.chat.completions.stream(model="smollm2:135m", messages=QUESTION) as stream:
        pieces = [event.delta for event in stream if event.type == "content.delta"]
    assert "".join(pieces) == "Grüße: 135.80 € …"
    assert len(pieces) > 5
    assert [("What is a hearth?" in prompt) for prompt in scripted_server.prompts] == [True, True]
    assert scripted_server.unplayed == []


def test_a_missing_turn_is_an_error(scripted_server: ScriptedServer) -> None:
    scripted_server.play()
    with pytest.raises(openai.BadRequestError, match="no further turn"):
        scripted_server.server.client().chat.completions.create(model="smollm2:135m", messages=QUESTION)


def test_an_answer_that_leaves_its_script_is_an_error(scripted_server: ScriptedServer) -> None:
    scripted_server.play("A fireplace.")
    with pytest.raises(openai.InternalServerError, match="left its script"):
        scripted_server.server.client().chat.completions.create(
            model="smollm2:135m", messages=QUESTION, max_tokens=40, extra_body={"min_tokens": 30}
        )
