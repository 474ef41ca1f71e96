"""inglenook chat: a terminal chat with a running server."""

from __future__ import annotations

import re
import select
import sys
from contextlib import closing, suppress
from enum import Enum, auto

import click

from inglenook.cli.chat_client import ChatClient, ChatError, ChatOptions
from inglenook.cli.output import note
from inglenook.config import ServerSettings
from inglenook.settings import gather

_HELP = """\
/system TEXT  set the system prompt
/system       remove it
/reset        forget the conversation
/exit         leave (or Ctrl-D)
Ctrl-C        stop an answer"""

_PASTE_GAP_S = 0.03  # lines of a paste follow each other faster than anyone types
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # an answer must not steer the terminal


class _Outcome(Enum):
    GO_ON = auto()
    INTERRUPTED = auto()
    LEAVE = auto()


class Conversation:
    """What was said so far, and how to go on."""

    def __init__(self, client: ChatClient, model: str, options: ChatOptions, system: str | None) -> None:
        self.client = client
        self.model = model
        self.options = options
        self.system = system
        self.turns: list[dict[str, str]] = []

    def ask(self, prompt: str) -> None:
        """Print the answer as it comes, with a line end, and remember both. Ctrl-C ends it and is raised again.

        After an error, or without a word of an answer, the question is forgotten as well: it can be asked again.
        """
        self.turns.append({"role": "user", "content": prompt})
        system = [{"role": "system", "content": self.system}] if self.system else []
        pieces: list[str] = []
        is_answered = True
        try:
            with closing(self.client.stream(self.model, system + self.turns, self.options)) as stream:
                for text in stream:
                    pieces.append(text)
                    _write(text)
        except ChatError:
            is_answered = False
            raise
        finally:
            if any(pieces):
                _write("\n")
            if any(pieces) and is_answered:
                self.turns.append({"role": "assistant", "content": "".join(pieces)})
            else:
                self.turns.pop()


def _default_url() -> str:
    """Where `inglenook serve` listens with the same environment."""
    server = gather((ServerSettings,)).build(ServerSettings)
    host = "127.0.0.1" if server.host in ("0.0.0.0", "::") else server.host
    return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"


def _default_api_key() -> str | None:
    return next(iter(gather((ServerSettings,)).build(ServerSettings).api_key), None)


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Chat with a running server, or print its answer to PROMPT. "
    "Without PROMPT, standard input that isn't a terminal is the prompt.",
)
@click.argument("prompt", required=False)
@click.option("--url", metavar="URL", help="The server.  [default: http://127.0.0.1:8000]")
@click.option("--model", metavar="NAME", help="Model to ask.  [default: the first that the server has]")
@click.option("--api-key", metavar="KEY", help="Key for the server.  [default: $INGLENOOK_API_KEY]")
@click.option("--system", metavar="TEXT", help="System prompt.")
@click.option("--temperature", type=float, metavar="NUMBER", help="0 gives the likeliest words, 1 varied ones.")
@click.option("--max-tokens", type=int, metavar="NUMBER", help="Length of an answer, at most.")
def command(
    prompt: str | None,
    url: str | None,
    model: str | None,
    api_key: str | None,
    system: str | None,
    temperature: float | None,
    max_tokens: int | None,
) -> None:
    options = ChatOptions(temperature, max_tokens)
    with closing(ChatClient(url or _default_url(), api_key or _default_api_key())) as client:
        conversation = Conversation(client, model or client.first_model(), options, system)
        if prompt is None and not sys.stdin.isatty():
            prompt = sys.stdin.read().strip()
            if not prompt:
                raise click.UsageError("there is no prompt: standard input is empty")
        if prompt is None:
            _talk(conversation)
        else:
            conversation.ask(prompt)


def _talk(conversation: Conversation) -> None:
    """Ask and answer until the user leaves."""
    with suppress(ImportError):
        import readline  # noqa: F401  # gives input() its line editing and history
    note(f"{conversation.model} (/help for help)")
    was_interrupted = False
    while (outcome := _turn(conversation)) is not _Outcome.LEAVE:
        if outcome is _Outcome.INTERRUPTED:
            if was_interrupted:
                print()
                return
            note("\n(Ctrl-C again or Ctrl-D leaves)")
        was_interrupted = outcome is _Outcome.INTERRUPTED


def _turn(conversation: Conversation) -> _Outcome:
    """Read and answer once."""
    try:
        text = _read_turn()
        if text.startswith("/") and _is_command(text):
            return _obey(text, conversation)
        if text:
            conversation.ask(text)
            print()
    except EOFError:
        print()
        return _Outcome.LEAVE
    except KeyboardInterrupt:
        return _Outcome.INTERRUPTED
    except ChatError as error:
        note(f"Error: {error.message}")
    return _Outcome.GO_ON


def _read_turn() -> str:
    """One line, or all lines of a paste. Raises EOFError at the end of input."""
    lines = [input(">>> ")]
    with suppress(EOFError):
        while select.select([sys.stdin], [], [], _PASTE_GAP_S)[0]:
            lines.append(input())
    return "\n".join(lines).strip()


def _is_command(text: str) -> bool:
    """A word after a slash, not a path or a fraction that a question begins with."""
    return re.match(r"/[a-z]*(\s|$)", text) is not None


def _obey(text: str, conversation: Conversation) -> _Outcome:
    """Carry out a command."""
    word, *rest = text.split(maxsplit=1)
    match word:
        case "/exit" | "/quit" | "/bye":
            return _Outcome.LEAVE
        case "/reset":
            conversation.turns.clear()
            note("The conversation is forgotten.")
        case "/system":
            conversation.system = rest[0] if rest else None
            note("The system prompt is set." if conversation.system else "There is no system prompt now.")
        case "/help":
            note(_HELP)
        case _:
            note(f"There is no command {word}.\n{_HELP}")
    return _Outcome.GO_ON


def _write(text: str) -> None:
    if sys.stdout.isatty():
        text = _CONTROL.sub("", text)
    sys.stdout.write(text)
    sys.stdout.flush()
