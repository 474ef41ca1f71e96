"""The OpenAPI document (specification 3.1) of the routes that an app has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.routing import BaseRoute

from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.sse import EVENTS

_REFERENCE = "#/components/schemas/{name}"
_PATH_PARAMETER = re.compile(r"\{(\w+)(:\w+)?\}")
# What may happen to any request, and to one with a body; 401 only where the server has keys.
_STATUSES = (401, 404, 500, 503)
_BODY_STATUSES = (400, 408, 413, 429)


def openapi_document(routes: Iterable[BaseRoute], *, version: str) -> dict[str, Any]:
    """`routes` that are no ApiRoutes are left out."""
    described = [route for route in routes if isinstance(route, ApiRoute)]
    types = {id(t): t for route in described for t in _types(route.operation)}
    schemas, components = msgspec.json.schema_components(list(types.values()), ref_template=_REFERENCE)
    by_type = dict(zip(types, schemas, strict=True))
    for component in components.values():
        _require_defaults(component)

    def schema_of(answer: Any) -> dict[str, Any]:
        if isinstance(answer, tuple):
            return {"anyOf": [by_type[id(one)] for one in answer]}
        return by_type[id(answer)]

    paths: dict[str, Any] = {}
    for route in described:
        path = ("/v1" if route.operation.is_versioned else "") + _PATH_PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "inglenook", "version": version, "description": _DESCRIPTION},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _SECURITY},
        "security": [{}, {"bearer": []}, {"x-api-key": []}],
    }


def _require_defaults(schema: dict[str, Any]) -> None:
    """What has a default need not be given to make a struct, but is always written: only UNSET is left out."""
    properties = schema.get("properties", {})
    always = [name for name, value in properties.items() if "default" in value or name in schema.get("required", ())]
    if always:
        schema["required"] = always


_DESCRIPTION = (
    "Paths exist with and without the prefix /v1. Fields of a request that nobody knows are ignored, and named in the "
    "response header x-inglenook-warnings."
)
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


def _types(operation: Operation) -> list[Any]:
    given = (operation.answer, operation.error, *operation.events.values())
    return [t for one in given if one is not None for t in (one if isinstance(one, tuple) else (one,))]


def _operation(route: ApiRoute, schema_of: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    operation = route.operation
    described: dict[str, Any] = {"summary": operation.summary, "operationId": route.name}
    parameters = [
        {"name": match[1], "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for match in _PATH_PARAMETER.finditer(route.path)
    ]
    if parameters:
        described["parameters"] = parameters
    statuses = {*_STATUSES, *operation.statuses}
    if operation.body is not None:
        content = {"application/json": {"schema": operation.body()}}
        described["requestBody"] = {"required": True, "content": content}
        statuses |= set(_BODY_STATUSES)
    answer: dict[str, Any] = {} if operation.answer is None else {"schema": schema_of(operation.answer)}
    content = {operation.content_type: answer}
    failure = schema_of(operation.error)
    content |= {kind: {"schema": _event(kind, schema_of(held), failure)} for kind, held in operation.events.items()}
    error = {"application/json": {"schema": failure}}
    described["responses"] = {
        str(operation.status): {"description": _phrase(operation.status), "content": content},
        **{str(s): {"description": _phrase(s), "content": error} for s in sorted(statuses)},
    }
    return described


def _phrase(status: int) -> str:
    return "Overloaded" if status == 529 else HTTPStatus(status).phrase  # Anthropic's own


def _event(kind: str, held: dict[str, Any], failure: dict[str, Any]) -> dict[str, Any]:
    """Of one event of a stream: its fields, where it is a server-sent one (as specification 3.2 has it)."""
    schema = {"anyOf": [held, failure]}
    if kind != EVENTS.content_type:
        return schema
    end = {"const": "[DONE]"}
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}
    return {"type": "object", "properties": {"data": {"anyOf": [end, data]}}, "required": ["data"]}
