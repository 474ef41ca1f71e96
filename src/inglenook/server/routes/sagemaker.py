"""SageMaker's two routes, as vLLM and Text Generation Inference have them: what a body asks for shows in its fields."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from inglenook.dialects.json_fields import decode_object
from inglenook.errors import InvalidRequestError
from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.body import READ_BODY, read_body
from inglenook.server.routes import admin, embeddings, huggingface, openai

# By the field that only they have: the path of the route, whose shape errors have, and what answers there.
_HANDLERS = {
    "messages": ("/chat/completions", openai.chat_completions),
    "prompt": ("/completions", openai.completions),
    "input": ("/embeddings", embeddings.embeddings),
    "inputs": ("/", huggingface.compat),
}


async def invocations(request: Request) -> Response:
    body = await read_body(request)
    given = decode_object(body).keys() & _HANDLERS.keys()
    if len(given) != 1:
        raise InvalidRequestError(
            f"The body must have one of {', '.join(_HANDLERS)}; it has {', '.join(sorted(given)) or 'none'}."
        )
    path, handler = _HANDLERS[given.pop()]
    request.scope["path"] = path
    request.scope[READ_BODY] = body
    return await handler(request)


_INVOCATIONS = Operation(
    "A chat, a completion, vectors or Hugging Face's generation, by the body's fields.",
    body=lambda: {"type": "object"},
    is_versioned=False,
    statuses=(422, 424),
)
ROUTES = [
    ApiRoute("POST", "/invocations", invocations, _INVOCATIONS),
    ApiRoute(
        "GET",
        "/ping",
        admin.health,
        Operation("Whether requests are answered.", admin.Health, is_versioned=False),
        name="ping",
    ),
]
