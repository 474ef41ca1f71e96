"""Streams through HTTP beside the same requests in process: first tokens, gaps between tokens, tokens per second."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from inglenook.bench.load import Job, StreamResult
from inglenook.bench.rows import Target
from inglenook.config import DEFAULT_MODEL
from inglenook.dialects.openai.requests import parse_chat, parse_completion
from inglenook.engine.async_engine import AsyncEngine
from inglenook.engine.request import EngineRequest
from inglenook.errors import ConfigError, EngineError, InglenookError
from inglenook.types import ChatRequest, CompletionRequest

ROUTES = ("completions", "chat/completions")
# Shares of the rate in process, by model and number of streams.
TARGETS: Mapping[str, Mapping[int, Target]] = {DEFAULT_MODEL: {1: Target(0.95), 32: Target(0.85)}}
_TIMEOUT_S = 120.0
_PROMPT = "Story {number}. Tell in a few plain sentences what the keeper of a lighthouse does in a night of storm."

Prepare = Callable[[ChatRequest | CompletionRequest], Sequence[EngineRequest]]


class LoadError(InglenookError):
    """A stream of the benchmark failed."""


@dataclass(frozen=True)
class Server:
    """Where requests go: `url` without /v1."""

    url: str
    model: str
    api_key: str | None = None


@dataclass(frozen=True)
class Run:
    """What one run of many streams gave. Times are in seconds."""

    rate: float  # tokens/s of all streams together, from the first request to the last token
    first_token_s: list[float]
    inter_token_s: list[float]


@dataclass(frozen=True)
class Row:
    """One route with one number of streams; rates are tokens/s, the median of those of each run."""

    route: str
    num_streams: int
    num_tokens: int  # of each stream
    rates: list[float]
    rates_in_process: list[float]  # none where there is nothing to compare with
    first_token_s: Mapping[str, float]  # by percentile, of all runs together
    inter_token_s: Mapping[str, float]
    target: Target | None

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def rate_in_process(self) -> float | None:
        return statistics.median(self.rates_in_process) if self.rates_in_process else None

    @property
    def share(self) -> float | None:
        return self.rate / self.rate_in_process if self.rate_in_process else None

    @property
    def is_met(self) -> bool | None:
        return None if self.target is None or self.share is None else self.target.is_met(self.share)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        derived = {name: getattr(self, name) for name in ("rate", "rate_in_process", "share", "is_met")}
        return asdict(self) | {"unit": "tokens/s"} | derived


class InProcess:
    """The same requests on an engine in this process."""

    def __init__(self, engine: AsyncEngine, prepare: Prepare) -> None:
        self._engine = engine
        self._prepare = prepare

    def run(self, route: str, bodies: Sequence[bytes]) -> float:
        """Tokens per second."""
        requests: list[EngineRequest] = []
        for number, body in enumerate(bodies):
            parsed = parse_chat(body, f"chat-{number}") if "chat" in route else parse_completion(body, f"text-{number}")
            requests += self._prepare(parsed.request)
        num_tokens = 0
        begin_s = time.perf_counter()
        for output in self._engine.generate_blocking(requests):
            if output.error is not None:
                raise EngineError(f"A request of the benchmark failed: {output.error}")
            num_tokens += len(output.tokens)
        return num_tokens / (time.perf_counter() - begin_s)


def measure(
    server: Server,
    in_process: InProcess | None,
    *,
    routes: Sequence[str],
    nums_streams: Sequence[int],
    num_tokens: int,
    num_runs: int,
) -> Iterator[Row]:
    """The rows as they are ready; runs through HTTP and in process take turns, so that neighbours disturb both."""
    prompts = iter(range(sys.maxsize))
    for route in routes:
        for num_streams in nums_streams:
            runs, rates = [], []
            for number in range(num_runs + 1):  # the first is the warm-up
                bodies = [_body(server.model, route, next(prompts), num_tokens) for _ in range(num_streams)]
                run = through_http(server, route, bodies, num_tokens)
                rate = in_process.run(route, bodies) if in_process is not None else None
                if number > 0:
                    runs.append(run)
                    rates += [] if rate is None else [rate]
            yield Row(
                route,
                num_streams,
                num_tokens,
                [run.rate for run in runs],
                rates,
                percentiles([time_s for run in runs for time_s in run.first_token_s]),
                percentiles([time_s for run in runs for time_s in run.inter_token_s]),
                TARGETS.get(server.model, {}).get(num_streams),
            )


def through_http(server: Server, route: str, bodies: Sequence[bytes], num_tokens: int) -> Run:
    """Run all requests at once, from a process of its own. Raises LoadError where one of them fails."""
    parts = urlsplit(server.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{server.url!r} is no URL of a server; write it as http://127.0.0.1:8000.", param="url")
    headers = {"content-type": "application/json"}
    if server.api_key:
        headers["authorization"] = f"Bearer {server.api_key}"
    is_tls = parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    job = Job(parts.hostname, port, is_tls, f"{parts.path}/v1/{route}", headers, list(bodies), _TIMEOUT_S)
    generator = subprocess.run(
        [sys.executable, "-m", "inglenook.bench.load"], input=msgspec.json.encode(job), capture_output=True
    )
    if generator.returncode != 0:
        raise LoadError(f"The load generator failed:\n{generator.stderr.decode(errors='replace')}")
    return _evaluate(msgspec.json.decode(generator.stdout, type=list[StreamResult]), num_tokens)


def _evaluate(streams: Sequence[StreamResult], num_tokens: int) -> Run:
    for stream in streams:
        if stream.error is not None:
            raise LoadError(f"A stream of the benchmark failed: {stream.error}")
        if stream.num_tokens != num_tokens or len(stream.token_times_s) < 2:
            raise LoadError(
                f"A stream brought {stream.num_tokens} tokens in {len(stream.token_times_s)} events with text; "
                f"{num_tokens} tokens were asked for. The server must know stream_options and ignore_eos."
            )
    times = [stream.token_times_s for stream in streams]
    begin_s, end_s = min(stream.sent_s for stream in streams), max(stream[-1] for stream in times)
    return Run(
        num_tokens * len(streams) / (end_s - begin_s),
        [stream.token_times_s[0] - stream.sent_s for stream in streams],
        [after - before for stream in times for before, after in itertools.pairwise(stream)],
    )


def _body(model: str, route: str, number: int, num_tokens: int) -> bytes:
    """To the full length; no prompt is asked twice, so that no prefix of it is in a cache.

    Sampled, as text that runs in circles is what speculation gives several tokens a step for; with a seed, so that
    the same tokens come in process.
    """
    prompt = _PROMPT.format(number=number)
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": num_tokens,
        "temperature": 1,
        "seed": number,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    body |= {"messages": [{"role": "user", "content": prompt}]} if "chat" in route else {"prompt": prompt}
    return msgspec.json.encode(body)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The 50th and the 99th, by nearest rank."""
    ordered = sorted(values)
    return {f"p{p}": ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 99)}
