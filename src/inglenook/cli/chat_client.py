"""The little of OpenAI's chat API that a terminal needs, over httpx."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from inglenook.errors import ConfigError, InglenookError

_CONNECT_TIMEOUT_S = 5.0


class ChatError(InglenookError):
    """The server can't be reached, or it answered with an error."""


@dataclass(frozen=True)
class ChatOptions:
    """What goes with every request; None leaves it to the server."""

    temperature: float | None = None
    max_tokens: int | None = None


class ChatClient:
    """Talks to one server. Close it when done."""

    def __init__(self, url: str, api_key: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is no URL of a server; write it as http://127.0.0.1:8000.")
        self.url = url.rstrip("/").removesuffix("/v1")
        self._client = httpx.Client(
            base_url=self.url + "/v1/",
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(None, connect=_CONNECT_TIMEOUT_S),  # a long prompt is silent for long
            trust_env=not _is_local(parts.hostname),  # a proxy can't reach this machine's own servers
        )

    def first_model(self) -> str:
        """The name of the first model listed that generates text; other servers don't say what theirs do."""
        with self._errors_explained():
            response = self._client.get("models")
        _raise_for_status(response)
        try:
            names = [str(m["id"]) for m in response.json()["data"] if m.get("task", "generate") == "generate"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ChatError(f"{self.url} lists no models; is it an inference server?") from None
        if not names:
            raise ChatError(f"{self.url} lists no model that generates text.")
        return names[0]

    def stream(
        self, model: str, messages: Sequence[Mapping[str, str]], options: ChatOptions
    ) -> Generator[str, None, None]:
        """Pieces of the answer's text as they come. Closing the generator cancels the answer. Raises ChatError."""
        body: dict[str, Any] = {"model": model, "messages": list(messages), "stream": True}
        if options.temperature is not None:
            body["temperature"] = options.temperature
        if options.max_tokens is not None:
            body["max_tokens"] = options.max_tokens
        with self._errors_explained(), self._client.stream("POST", "chat/completions", json=body) as response:
            if response.status_code != httpx.codes.OK:
                response.read()
                _raise_for_status(response)
            for line in response.iter_lines():
                if not line.startswith("data:"):
                    continue
                data = line.removeprefix("data:").strip()
                if data == "[DONE]":
                    return
                yield _text_of(data)
        raise ChatError(f"{self.url} closed the connection before the answer was complete.")

    def close(self) -> None:
        self._client.close()

    def _errors_explained(self) -> _ErrorsExplained:
        return _ErrorsExplained(self.url)


class _ErrorsExplained:
    """Turns httpx's exceptions into ChatError that says what to do."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
            raise ChatError(
                f"No server answers at {self._url}. Start one with `inglenook serve`, or give another --url."
            ) from error
        if isinstance(error, httpx.HTTPError):
            raise ChatError(f"The connection to {self._url} broke: {error or type(error).__name__}.") from error


def _raise_for_status(response: httpx.Response) -> None:
    if response.status_code == httpx.codes.OK:
        return
    try:
        message = str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = " ".join(response.text.split())[:200] or "no message"
    hint = " Give the server's key with --api-key." if response.status_code == httpx.codes.UNAUTHORIZED else ""
    raise ChatError(f"The server answered {response.status_code}: {message}{hint}")


def _text_of(data: str) -> str:
    """The text in one event of the stream. Raises ChatError for an event that is an error."""
    try:
        event = json.loads(data)
        if event.get("error"):
            raise ChatError(f"The server ended the answer: {event['error'].get('message', event['error'])}")
        choices = event["choices"]
        return (choices[0]["delta"].get("content") or "") if choices else ""
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise ChatError(f"The server sent what isn't part of a chat: {data[:100]}") from None


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
