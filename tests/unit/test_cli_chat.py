"""inglenook chat: one question, a conversation in a terminal, and errors in one line."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from fixtures.chat_server import ChatServer, event, serve_chat
from fixtures.interruptible import interruptible
from inglenook.cli.main import run


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    for name in [name for name in os.environ if name.startswith("INGLENOOK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # no proxy is asked for this machine's own servers
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with serve_chat() as server:
        yield server


def chat(server: ChatServer, *arguments: str) -> int:
    return run(["chat", "--url", server.url, *arguments])


def test_one_question(server: ChatServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.say("Blue", " is", " short.")
    assert chat(server, "Why is the sky blue?") == 0
    assert capsys.readouterr() == ("Blue is short.\n", "")
    assert server.requests == [
        {"model": "first", "messages": [{"role": "user", "content": "Why is the sky blue?"}], "stream": True}
    ]


def test_the_first_model_that_answers_is_asked(server: ChatServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.models = [{"id": "vectors", "task": "embed"}, {"id": "chat", "task": "generate"}]
    server.say("x")
    assert chat(server, "Hi") == 0
    assert server.requests[0]["model"] == "chat"
    for models, message in ((server.models[:1], "no model that generates text"), ([3], "is it an inference server?")):
        server.models = models  # type: ignore[assignment]
        assert chat(server, "Hi") == 1
        assert message in capsys.readouterr().err


def test_options_go_with_the_request(server: ChatServer) -> None:
    server.say("x")
    options = ["--model", "m", "--system", "Be brief.", "--temperature", "0", "--max-tokens", "5", "--api-key", "k"]
    assert chat(server, *options, "Hi") == 0
    assert server.headers[0]["authorization"] == "Bearer k"
    request = server.requests[0]
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("m", 0, 5)
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}


def test_the_environment_of_the_server_finds_it(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.say("x")
    monkeypatch.setenv("INGLENOOK_PORT", server.url.rpartition(":")[2])
    monkeypatch.setenv("INGLENOOK_HOST", "0.0.0.0")
    monkeypatch.setenv("INGLENOOK_API_KEY", "one,two")
    assert run(["chat", "Hi"]) == 0
    assert server.headers[0]["authorization"] == "Bearer one"


@pytest.mark.parametrize("suffix", ["/", "/v1", "/v1/"])
def test_spellings_of_the_url(server: ChatServer, suffix: str) -> None:
    server.say("x")
    assert run(["chat", "--url", server.url + suffix, "Hi"]) == 0


def test_standard_input_is_the_prompt(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.say("ok")
    monkeypatch.setattr(sys, "stdin", io.StringIO("two\nlines\n"))
    assert chat(server) == 0
    assert server.requests[0]["messages"] == [{"role": "user", "content": "two\nlines"}]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert chat(server) == 2
    assert "standard input is empty" in capsys.readouterr().err


def test_events_that_carry_no_text(server: ChatServer, capsys: pytest.CaptureFixture[str]) -> None:
    role = json.dumps({"choices": [{"delta": {"role": "assistant"}}]})
    usage = json.dumps({"choices": [], "usage": {}})
    server.events = [role, event(None), event("a"), event(""), usage, "[DONE]"]
    assert chat(server, "Hi") == 0
    assert capsys.readouterr().out == "a\n"


@pytest.mark.parametrize(
    ("events", "words"),
    [
        (["x"], "the answer was complete"),  # the connection ends early
        ([json.dumps({"error": {"message": "the engine broke"}})], "the engine broke"),
        (["{"], "isn't part of a chat"),
        (["[]"], "isn't part of a chat"),
        ([json.dumps({"choices": [{}]})], "isn't part of a chat"),
    ],
)
def test_broken_streams(server: ChatServer, capsys: pytest.CaptureFixture[str], events: list[str], words: str) -> None:
    server.events = [event("begun ") if data == "x" else data for data in events]
    assert chat(server, "Hi") == 1
    output = capsys.readouterr()
    assert words in output.err
    assert output.err.startswith("Error: ")
    assert output.err.count("\n") == 1


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, b'{"error": {"message": "temperature is 9"}}', ["400", "temperature is 9"]),
        (401, b'{"error": {"message": "wrong key"}}', ["401", "--api-key"]),
        (502, b"<html>bad\n gateway</html>", ["502", "<html>bad gateway"]),
        (500, b"", ["500", "no message"]),
    ],
)
def test_error_answers(
    server: ChatServer, capsys: pytest.CaptureFixture[str], status: int, body: bytes, words: list[str]
) -> None:
    server.status, server.body = status, body
    assert chat(server, "Hi") == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert all(word in output.err for word in words)


@pytest.mark.parametrize(("url", "status"), [("http://127.0.0.1:1", 1), ("127.0.0.1:8000", 2), ("nonsense", 2)])
def test_no_server(capsys: pytest.CaptureFixture[str], url: str, status: int) -> None:
    assert run(["chat", "--url", url, "Hi"]) == status
    error = capsys.readouterr().err
    assert "inglenook serve" in error if status == 1 else "http://127.0.0.1:8000" in error


# --- in a terminal --------------------------------------------------------------------------------------


# `python -m inglenook`, after taking standard input as its terminal, so that Ctrl-C reaches it.
IN_OWN_TERMINAL = (
    "import fcntl, runpy, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "runpy.run_module('inglenook', run_name='__main__', alter_sys=True)"
)


class Silent(AssertionError):
    """The program doesn't write what was expected."""


class Ended(AssertionError):
    """The program ended before it wrote what was expected."""


class Terminal:
    """The program on a pseudo-terminal of 40 columns."""

    def __init__(self, *arguments: str) -> None:
        self.main, side = pty.openpty()
        self.seen = ""
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "40"}
        command = [sys.executable, "-c", IN_OWN_TERMINAL, "chat", *arguments]
        with interruptible():
            self.process = subprocess.Popen(
                command, stdin=side, stdout=side, stderr=side, env=environment, start_new_session=True
            )
        os.close(side)

    def expect(self, pattern: str, timeout_s: float = 30) -> str:
        """Read until `pattern` appears; what came up to its end."""
        deadline = time.monotonic() + timeout_s
        while (match := re.search(pattern, self.seen)) is None:
            if not select.select([self.main], [], [], max(0, deadline - time.monotonic()))[0]:
                raise Silent(f"only {self.seen!r}")
            try:
                self.seen += os.read(self.main, 65536).decode(errors="replace")
            except OSError:
                raise Ended(f"after {self.seen!r}") from None
        read, self.seen = self.seen[: match.end()], self.seen[match.end() :]
        return read

    def send(self, text: str) -> None:
        os.write(self.main, text.encode())

    def interrupt(self, pattern: str) -> None:
        """Press Ctrl-C until `pattern` appears, or the program ends.

        Python loses a Ctrl-C that comes between readline's prompt and its wait for a key; people press again.
        """
        for _ in range(6):
            self.send("\x03")
            with suppress(Silent):
                self.expect(pattern, timeout_s=5)
                return
        raise Silent(f"after six times Ctrl-C only {self.seen!r}")

    def wait(self) -> int:
        with suppress(OSError):
            while select.select([self.main], [], [], 30)[0] and os.read(self.main, 65536):
                pass
        return self.process.wait(10)


@pytest.fixture
def terminal(server: ChatServer) -> Iterator[Terminal]:
    terminal = Terminal("--url", server.url)
    yield terminal
    if terminal.process.poll() is None:
        terminal.process.kill()
        terminal.process.wait()
    os.close(terminal.main)


def test_a_conversation(server: ChatServer, terminal: Terminal) -> None:
    terminal.expect("first (?s:.*)>>> ")
    for text, answer in (("one\r", "Eins."), ("two\r", "Zwei.")):
        server.say(answer)
        terminal.send(text)
        terminal.expect(re.escape(answer) + r"(?s:.*)>>> ")
    assert [turn["content"] for turn in server.requests[1]["messages"]] == ["one", "Eins.", "two"]
    terminal.send("/system Be kind.\r")
    terminal.expect("is set(?s:.*)>>> ")
    terminal.send("/reset\r")
    terminal.expect("forgotten(?s:.*)>>> ")
    terminal.send("/nonsense\r")
    terminal.expect("no command /nonsense(?s:.*)>>> ")
    terminal.send("three\r")
    terminal.expect(r"Zwei\.(?s:.*)>>> ")
    assert [turn["content"] for turn in server.requests[2]["messages"]] == ["Be kind.", "three"]
    terminal.send("/exit\r")
    assert terminal.wait() == 0


def test_a_paste_is_one_question(server: ChatServer, terminal: Terminal) -> None:
    server.say("ok.")
    terminal.expect(">>> ")
    terminal.send("line one\nline two\nline three\n")
    terminal.expect(r"ok\.")
    terminal.expect(">>> ")
    assert [turn["content"] for turn in server.requests[0]["messages"]] == ["line one\nline two\nline three"]
    terminal.send("\x1b[200~first\nsecond\x1b[201~\r")
    terminal.expect(r"ok\.")
    assert server.requests[1]["messages"][-1]["content"] == "first\nsecond"


def test_ctrl_c_stops_the_answer_and_then_leaves(server: ChatServer, terminal: Terminal) -> None:
    server.say("It begins", "STALL")
    terminal.expect(">>> ")
    terminal.send("go on\r")
    terminal.expect("It begins")
    terminal.interrupt("Ctrl-C again(?s:.*)>>> ")
    assert server.client_left.wait(10)
    server.say("ok.")
    terminal.send("next\r")
    terminal.expect(r"ok\.(?s:.*)>>> ")
    assert [turn["content"] for turn in server.requests[1]["messages"]] == ["go on", "It begins", "next"]
    terminal.interrupt("Ctrl-C again(?s:.*)>>> ")
    with pytest.raises(Ended):
        terminal.interrupt("never written")
    assert terminal.wait() == 0


def test_an_error_does_not_end_the_chat(server: ChatServer, terminal: Terminal) -> None:
    server.status, server.body = 500, b'{"error": {"message": "broken"}}'
    terminal.expect(">>> ")
    terminal.send("first\r")
    terminal.expect("Error: .*broken(?s:.*)>>> ")
    server.status = 200
    server.events = [event("half an answer")]
    terminal.send("second\r")
    terminal.expect("half an answer\r\nError: .*complete(?s:.*)>>> ")
    server.say("ok.")
    terminal.send("third\r")
    terminal.expect(r"ok\.(?s:.*)>>> ")
    assert [turn["content"] for turn in server.requests[2]["messages"]] == ["third"]
    terminal.send("\x04")
    assert terminal.wait() == 0


def test_an_answer_cannot_steer_the_terminal(server: ChatServer, terminal: Terminal) -> None:
    server.say("a\x1b[2J\x07b\x9bc\n", "d\te.")
    terminal.expect(">>> ")
    terminal.send("x\r")
    assert terminal.expect(r"d\te\.").endswith("a[2Jbc\r\nd\te.")
