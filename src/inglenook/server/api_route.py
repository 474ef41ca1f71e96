"""Routes that say what they take and give: the OpenAPI document is made of that (openapi.py)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from inglenook.dialects.openai.wire import ErrorBody


@dataclass(frozen=True)
class Operation:
    """What the document says of a route.

    Types are those that msgspec can describe: the wire structs of a dialect, lists of them. A tuple of types: one of
    them. `events` maps
    the content type of a stream to what its events hold. `statuses` are those of errors beside the usual ones.
    """

    summary: str
    answer: Any = None
    body: Callable[[], Mapping[str, Any]] | None = None  # the JSON Schema of the request's body
    events: Mapping[str, Any] = field(default_factory=dict)
    content_type: str = "application/json"
    status: int = 200
    statuses: tuple[int, ...] = ()
    error: Any = ErrorBody
    is_versioned: bool = True  # documented with the prefix /v1; it exists with and without (gate.py)


class ApiRoute(Route):
    """`method` is one of HTTP's; HEAD comes with GET. `name` is the operation's id; default: the endpoint's name."""

    def __init__(
        self,
        method: str,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        operation: Operation,
        name: str | None = None,
    ) -> None:
        super().__init__(path, endpoint, methods=[method], name=name)
        self.method = method
        self.operation = operation
