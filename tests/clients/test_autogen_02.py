"""pyautogen 0.2.35 against the server: the documentation's examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import RunClient
    from fixtures.server_process import Server


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
