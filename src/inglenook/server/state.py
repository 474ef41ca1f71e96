"""What every route needs, kept on the app."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

from starlette.requests import Request

from inglenook.config import ServerSettings
from inglenook.errors import InglenookError
from inglenook.gateway.response_store import ResponseStore
from inglenook.gateway.router import Router
from inglenook.server.answer import Answer


@dataclass
class ServerState:
    router: Router
    settings: ServerSettings
    version: str
    responses: ResponseStore = field(default_factory=lambda: ResponseStore(None))
    answers: set[Answer[Any]] = field(default_factory=set)  # those being written
    in_background: dict[str, asyncio.Task[None]] = field(default_factory=dict)  # by response id

    def end_answers(self, error: InglenookError) -> None:
        """Make every running answer end with this error."""
        for answer in tuple(self.answers):
            answer.stop(error)


def state_of(request: Request) -> ServerState:
    return cast(ServerState, request.app.state.inglenook)
