"""pyautogen 0.2.35 against the server: the documentation's examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fixtures.server_process import Server

if TYPE_CHECKING:
    from conftest import RunClient, ScriptedServer

QUESTION = "How much is 123.45 EUR in USD?"


def test_two_agents(server: Server, run_client: RunClient) -> None:
    history = run_client("with_autogen_02", "two_agents", server, messages=["Why is the sky blue?"], max_tokens=24)
    assert [m["role"] for m in history] == ["assistant", "user", "assistant"]
    assert history[1]["content"] == "Why is the sky blue?"
    assert history[2]["content"]


def test_group_chat_under_a_strict_template(strict_server: Server, run_client: RunClient) -> None:
    messages = run_client(
        "with_autogen_02", "group_chat", strict_server, message="Hello", max_round=5, max_tokens=12, temperature=0
    )
    assert len(messages) == 5


def test_a_group_chat_under_a_strict_template_says_what_it_is_told(
    strict_scripted_server: ScriptedServer, run_client: RunClient
) -> None:
    """System messages first and last, names, several user turns in a row, an empty answer."""
    strict_scripted_server.play("coder", "print(1)", "critic", "", "user_proxy", "coder", "print(2)")
    messages = run_client(
        "with_autogen_02", "group_chat", strict_scripted_server, message="Write a program.", max_round=5
    )
    assert [(m["name"], m["content"]) for m in messages] == [
        ("user_proxy", "Write a program."),
        ("coder", "print(1)"),
        ("critic", ""),
        ("user_proxy", ""),
        ("coder", "print(2)"),
    ]
    assert strict_scripted_server.unplayed == []
    assert all("[INST]" in prompt for prompt in strict_scripted_server.prompts)
    assert "select the next role" in strict_scripted_server.prompts[-2]
    assert "coder: print(1)" in strict_scripted_server.prompts[2], (
        "names are in the text where the template has no place"
    )
