"""Paths as clients write them -> paths as the routes know them. All that several servers call the same is here."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import unquote

from starlette.types import Scope

PATH_MODEL = "inglenook.path_model"  # key in the ASGI scope: the model that the path names

_CallT = TypeVar("_CallT", bound=Any)

_SLASHES = re.compile(r"/{2,}")
# OpenAI's own prefix, also doubled (clients that add it to a base URL that has it), and those of Azure, Groq and, for
# Anthropic's routes, Xinference.
_PREFIX = re.compile(r"(?:/openai(?!/deployments/)|/anthropic)?(?:/v1)*(?=/|$)")
# LiteLLM and FastChat (after OpenAI's first API), Azure, huggingface_hub: the model is part of the path.
_NAMED = re.compile(
    r"/(?:engines|openai/deployments|models)/(?P<model>.+?)(?:/v1)?"
    r"(?P<route>/(?:chat/completions|completions|embeddings))"
)


def tidy(scope: Scope) -> dict[str, Any]:
    """What of the scope changes: `path`, and the model where the path names one.

    Slashes are merged before anything is decoded: an encoded one belongs to a model's name.
    """
    raw: bytes | None = scope.get("raw_path")
    path = scope["path"] if raw is None else raw.decode("latin-1")
    path = _SLASHES.sub("/", path).rstrip("/") or "/"
    path = path[_PREFIX.match(path).end() :] or "/"  # type: ignore[union-attr]
    named = _NAMED.fullmatch(path)
    if named is not None:
        return {"path": named["route"], PATH_MODEL: _decoded(named["model"], raw)}
    return {"path": _decoded(path, raw)}


def asked_path(scope: Scope) -> str:
    """The path as the client wrote it, for messages and the log; its beginning, where it is long."""
    raw: bytes | None = scope.get("raw_path")
    return _decoded(scope["path"] if raw is None else raw.decode("latin-1"), raw)[:100]


def named_by_path(scope: Scope, call: _CallT) -> _CallT:
    """The call, a dataclass with a `request`, for the model that the path names, if it does: that counts more than the
    body's."""
    model = scope.get(PATH_MODEL)
    return call if model is None else replace(call, request=replace(call.request, model=model))


def _decoded(text: str, raw: bytes | None) -> str:
    return text if raw is None else unquote(text)
