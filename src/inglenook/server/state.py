"""What every route needs, kept on the app."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from starlette.requests import Request

from inglenook.config import ServerSettings
from inglenook.errors import InglenookError
from inglenook.gateway.router import Router
from inglenook.server.answer import Answer


@dataclass
class ServerState:
    router: Router
    settings: ServerSettings
    version: str
    answers: set[Answer[Any]] = field(default_factory=set)  # those being written

    def end_answers(self, error: InglenookError) -> None:
        """Make every running answer end with this error."""
        for answer in tuple(self.answers):
            answer.stop(error)


def state_of(request: Request) -> ServerState:
    return cast(ServerState, request.app.state.inglenook)
