"""Many clients at once, some of whom leave in the middle: what they ask, and whether the answers are right.

Every whole answer is compared with what the same request got when it had the server to itself; of an answer that was
left, what had come by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_TOKENS = 96
LONGEST_S = 120  # for an answer; the machine may have other work
PROMPTS = tuple(
    f"{start} {subject}."
    for subject in ("the sea", "a small town in winter", "how bread is made")
    for start in ("Tell me about", "Write a poem about", "What should a child know about")
)
LONG_PROMPT = "word " * 40_000  # more than any context
BAD_BODIES: tuple[tuple[str, bytes, int], ...] = (
    ("/v1/chat/completions", b'{"messages": [', 400),
    ("/v1/chat/completions", b'{"messages": "no"}', 400),
    ("/v1/chat/completions", b'{"model": "none", "messages": [{"role": "user", "content": "Hi"}]}', 404),
    ("/v1/chat/completions", json.dumps({"messages": [{"role": "user", "content": LONG_PROMPT}]}).encode(), 400),
    ("/v1/completions", b'{"prompt": "x", "max_tokens": -1, "stream": true}', 400),
    ("/v1/completions", b'{"prompt": [999999999]}', 400),
    ("/v1/nowhere", b"{}", 404),
)


@dataclass(frozen=True)
class Answer:
    """`status` is 0 where the client left before it came."""

    status: int
    body: bytes
    is_whole: bool


@dataclass
class Crowd:
    """`texts` and `vectors` are the right answers by prompt."""

    host: str
    port: int
    texts: dict[str, str]
    vectors: dict[str, str]  # in base64
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    num_tokens: int = 0

    async def run(self, num_clients: int, seconds: float, seed: int) -> None:
        end_s = time.monotonic() + seconds
        await asyncio.gather(*(self._client(random.Random(seed * 1000 + i), end_s) for i in range(num_clients)))

    async def run_longest(self, num_clients: int) -> None:
        """The longest of the requests that are refused, all at once."""
        path, body, status = max(BAD_BODIES, key=lambda one: len(one[1]))
        answers = await asyncio.gather(*(self._request("POST", path, body, None) for _ in range(num_clients)))
        assert {answer.status for answer in answers} == {status}

    async def _client(self, rng: random.Random, end_s: float) -> None:
        kinds = [self._stream] * 12 + [self._whole] * 3 + [self._choices, self._embed, self._bad] * 2 + [self._look]
        await asyncio.sleep(rng.random())  # clients don't come all at once
        while time.monotonic() < end_s and len(self.problems) < 20:
            kind = rng.choice(kinds)
            self.counts[kind.__name__.strip("_")] += 1
            try:
                await asyncio.wait_for(kind(rng), LONGEST_S)
            except asyncio.TimeoutError:
                self.problems.append(f"{kind.__name__}: no answer within {LONGEST_S} s")
            except (OSError, ValueError, KeyError, IndexError) as error:
                self.problems.append(f"{kind.__name__}: {error!r}")

    # --- what clients do ------------------------------------------------------------------------------

    async def _stream(self, rng: random.Random) -> None:
        prompt, max_tokens = rng.choice(PROMPTS), _num_tokens(rng)
        body = {**chat_body(prompt, max_tokens), "stream": True, "stream_options": {"include_usage": True}}
        answer = await self._post("/v1/chat/completions", body, rng)
        self._check_stream(answer, prompt, max_tokens, num_choices=1)

    async def _choices(self, rng: random.Random) -> None:
        prompt, max_tokens, n = rng.choice(PROMPTS), rng.randint(1, 12), rng.randint(2, 4)
        body = {**chat_body(prompt, max_tokens), "n": n, "stream": True, "stream_options": {"include_usage": True}}
        answer = await self._post("/v1/chat/completions", body, rng)
        self._check_stream(answer, prompt, max_tokens, num_choices=n)

    async def _whole(self, rng: random.Random) -> None:
        prompt, max_tokens = rng.choice(PROMPTS), _num_tokens(rng)
        answer = await self._post("/v1/chat/completions", chat_body(prompt, max_tokens), rng)
        if not self._is_good(answer) or not answer.is_whole:
            return
        value = json.loads(answer.body)
        self.num_tokens += value["usage"]["completion_tokens"]
        self._compare(value["choices"][0]["message"]["content"], prompt, max_tokens, is_whole=True)

    async def _bad(self, rng: random.Random) -> None:
        path, body, status = rng.choice(BAD_BODIES)
        answer = await self._request("POST", path, body, None)
        if answer.status != status:
            self.problems.append(f"{path} {body[:60]!r} got {answer.status}: {answer.body[:200]!r}")

    async def _look(self, rng: random.Random) -> None:
        path = rng.choice(("/health", "/metrics", "/v1/models", "/version"))
        started_s = time.monotonic()
        self._is_good(await self._request("GET", path, b"", None))
        self.counts["slow looks"] += time.monotonic() - started_s > 5

    async def _embed(self, rng: random.Random) -> None:
        prompts = rng.sample(PROMPTS, 3)
        answer = await self._post("/v1/embeddings", embedding_body(prompts), rng)
        if not self._is_good(answer) or not answer.is_whole:
            return
        got = [row["embedding"] for row in json.loads(answer.body)["data"]]
        if got != [self.vectors[prompt] for prompt in prompts]:
            self.problems.append(f"other vectors for {prompts}")

    # --- judging --------------------------------------------------------------------------------------

    def _is_good(self, answer: Answer) -> bool:
        if answer.status not in (0, 200):
            self.problems.append(f"status {answer.status}: {answer.body[:300]!r}")
        return answer.status == 200

    def _check_stream(self, answer: Answer, prompt: str, max_tokens: int, num_choices: int) -> None:
        if not self._is_good(answer):
            return
        texts, finished, usage = [""] * num_choices, [False] * num_choices, None
        *events, rest = answer.body.split(b"\n\n")
        for event in events:
            data = event.removeprefix(b"data: ")
            if data == b"[DONE]" or event.startswith(b":"):  # a comment, where the machine is too busy for a token
                continue
            value = json.loads(data)
            if "error" in value:
                self.problems.append(f"an error in a stream: {data[:300]!r}")
                return
            usage = value.get("usage") or usage
            for choice in value["choices"]:
                texts[choice["index"]] += choice["delta"].get("content") or ""
                finished[choice["index"]] |= choice["finish_reason"] is not None
        for text in texts:
            self._compare(text, prompt, max_tokens, is_whole=answer.is_whole)
        if not answer.is_whole:
            return
        if rest or not all(finished) or usage is None or not events[-1].endswith(b"[DONE]"):
            self.problems.append(f"a stream without its end: {answer.body[-200:]!r}")
        else:
            self.num_tokens += usage["completion_tokens"]

    def _compare(self, text: str, prompt: str, max_tokens: int, *, is_whole: bool) -> None:
        right = self.texts[prompt]
        is_right = text == right if is_whole and max_tokens == MAX_TOKENS else right.startswith(text.rstrip("\ufffd"))
        if not is_right:
            self.problems.append(f"{prompt!r} with {max_tokens} tokens got {text!r} instead of {right!r}")

    # --- HTTP -----------------------------------------------------------------------------------------

    async def _post(self, path: str, body: dict[str, Any], rng: random.Random) -> Answer:
        """One in three leaves: before the answer comes, or after some of it."""
        patience = rng.choice((0.0, rng.random(), 4 * rng.random())) if rng.random() < 1 / 3 else None
        return await self._request("POST", path, json.dumps(body).encode(), patience)

    async def _request(self, method: str, path: str, body: bytes, patience_s: float | None) -> Answer:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            pieces: list[bytes] = []
            is_whole = False
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(_read_all(reader, pieces), patience_s)
                is_whole = True
        finally:
            writer.close()
        self.counts["left"] += not is_whole
        return _parse(b"".join(pieces), is_whole)


def chat_body(prompt: str, max_tokens: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens, "temperature": 0}


def _num_tokens(rng: random.Random) -> int:
    """Short answers mostly."""
    return int(MAX_TOKENS * rng.random() ** 3) + 1


def embedding_body(prompts: Sequence[str]) -> dict[str, Any]:
    """Without a name: it goes to the model that makes vectors."""
    return {"input": prompts, "encoding_format": "base64"}


async def _read_all(reader: asyncio.StreamReader, pieces: list[bytes]) -> None:
    while piece := await reader.read(65536):
        pieces.append(piece)


def _parse(data: bytes, is_whole: bool) -> Answer:
    head, divider, body = data.partition(b"\r\n\r\n")
    if not divider:
        if is_whole:
            raise ValueError("the server closed the connection without an answer")
        return Answer(0, b"", False)
    if b"transfer-encoding: chunked" in head.lower():
        body = b"".join(_chunks(body))
    return Answer(int(head.split()[1]), body, is_whole)


def _chunks(body: bytes) -> Sequence[bytes]:
    chunks = []
    while True:
        size, divider, body = body.partition(b"\r\n")
        if not divider or int(size, 16) == 0:
            return chunks
        chunk, body = body[: int(size, 16)], body[int(size, 16) + 2 :]
        chunks.append(chunk)
