"""The JSON object of AgentScope's Flask services: the first version's keys, and beside them the later one's `data`."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType


class Message(Struct):
    content: str


class Choice(Struct):
    message: Message


class Usage(Struct):
    completion_tokens: int
    prompt_tokens: int
    total_tokens: int


class Response(Struct):
    choices: list[Choice]
    created: str
    id: str
    model: str
    object: str
    usage: Usage


class Data(Struct):
    completion_tokens: int
    messages: dict[str, str]
    prompt_tokens: int
    response: Response
    total_tokens: int
    username: str


class Answer(Struct):
    response: str
    n_token_response: int
    n_token_prompt: int
    timestamp: str
    data: Data
    warnings: list[str] | UnsetType = UNSET
