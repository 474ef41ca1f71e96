"""Ollama's routes about models: what there is and what runs. Those that would change it are refused by name."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from inglenook.dialects.json_fields import Fields, decode_object
from inglenook.dialects.ollama import answers as ollama
from inglenook.dialects.ollama import models as ollama_models
from inglenook.dialects.ollama import wire
from inglenook.dialects.ollama.requests import read_pull, read_show
from inglenook.dialects.ollama.schemas import pull_schema, show_schema
from inglenook.errors import ModelNotFoundError, NotServedError
from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.body import read_body
from inglenook.server.respond import json_response
from inglenook.server.routes.ollama import LINES, resolve
from inglenook.server.state import state_of


async def ollama_running(request: Request) -> Response:
    return Response(b"Ollama is running", media_type="text/plain")


async def ollama_version(request: Request) -> Response:
    return json_response(ollama_models.version_body())


async def ollama_tags(request: Request) -> Response:
    return json_response(ollama_models.tags_body(state_of(request).router.models()))


async def ollama_processes(request: Request) -> Response:
    return json_response(ollama_models.processes_body(state_of(request).router.models()))


async def ollama_show(request: Request) -> Response:
    router = state_of(request).router
    name = read_show(Fields(decode_object(await read_body(request))))
    return json_response(ollama_models.show_body(router.model(resolve(router, name))))


async def ollama_pull(request: Request) -> Response:
    """A model that is served needs no fetching."""
    name, stream = read_pull(Fields(decode_object(await read_body(request))))
    try:
        resolve(state_of(request).router, name)
    except ModelNotFoundError:
        raise NotServedError(
            f"model '{name[:100]}' isn't served, and this server fetches none while it runs; start it with "
            "`inglenook serve NAME`"
        ) from None
    if not stream:
        return json_response(ollama.status_lines("success")[0])
    lines = ollama.status_lines("pulling manifest", "verifying sha256 digest", "writing manifest", "success")
    return Response(LINES.frame(lines), media_type=LINES.content_type)


def _refused(method: str, path: str) -> ApiRoute:
    async def refuse(request: Request) -> Response:
        shown = request.url.path[:100]
        raise NotServedError(f"{shown} isn't supported: this server's models are those that it was started with")

    refuse.__name__ = f"ollama_{path.split('/')[2]}_{method.lower()}"  # the route's name
    return ApiRoute(method, path, refuse, _REFUSED)


def _get(path: str, endpoint: object, summary: str, answer: object) -> ApiRoute:
    operation = Operation(summary, answer, error=wire.ErrorBody, is_versioned=False)
    return ApiRoute("GET", path, endpoint, operation)  # type: ignore[arg-type]


_REFUSED = Operation("Not supported.", wire.ErrorBody, status=501, error=wire.ErrorBody, is_versioned=False)
ROUTES = [
    ApiRoute(
        "GET",
        "/",
        ollama_running,
        Operation("Whether Ollama's clients are answered.", content_type="text/plain", is_versioned=False),
    ),
    _get("/api/version", ollama_version, "The version of Ollama's interface.", wire.VersionBody),
    _get("/api/tags", ollama_tags, "The models that are served.", wire.TagList),
    _get("/api/ps", ollama_processes, "The models that are loaded.", wire.ProcessList),
    ApiRoute(
        "POST",
        "/api/show",
        ollama_show,
        Operation("What is known of a model.", wire.ShowBody, show_schema, error=wire.ErrorBody, is_versioned=False),
    ),
    ApiRoute(
        "POST",
        "/api/pull",
        ollama_pull,
        Operation(
            "Fetch a model: done, where it is served.",
            wire.StatusBody,
            pull_schema,
            {LINES.content_type: wire.StatusBody},
            statuses=(501,),
            error=wire.ErrorBody,
            is_versioned=False,
        ),
    ),
    *(_refused("POST", f"/api/{word}") for word in ("push", "create", "copy")),
    _refused("DELETE", "/api/delete"),
    _refused("GET", "/api/blobs/{digest}"),
    _refused("POST", "/api/blobs/{digest}"),
]
