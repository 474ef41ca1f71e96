"""The route of AgentScope's Flask services. Answers are JSON with another status than 200 where something is wrong."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from inglenook.dialects.flask import service as flask_service
from inglenook.dialects.flask import wire as flask_wire
from inglenook.dialects.json_fields import Fields, decode_object
from inglenook.dialects.openai.answers import new_id
from inglenook.server.api_route import ApiRoute, Operation
from inglenook.server.body import read_body
from inglenook.server.respond import whole_response
from inglenook.server.state import state_of
from inglenook.server.warning_header import unknown_fields_warning
from inglenook.types import ChatRequest


async def llm(request: Request) -> Response:
    router = state_of(request).router
    call = flask_service.read_call(Fields(decode_object(await read_body(request))), new_id("llm"))
    [prompt] = await router.render(call.request)
    asked = call.with_prompt_of(len(prompt.token_ids))
    deltas = router.chat(asked) if isinstance(asked, ChatRequest) else router.complete(asked)
    warnings = unknown_fields_warning(call.unknown_fields)
    model = asked.model or router.resolve("")
    encode = partial(flask_service.answer_body, model, warnings, now=datetime.now())
    return await whole_response(request, deltas, encode, warnings=warnings)


ROUTES = [
    ApiRoute(
        "POST",
        "/llm",
        llm,
        Operation(
            "An answer as AgentScope's Flask services give it.",
            flask_wire.Answer,
            flask_service.call_schema,
            statuses=(405,),
            is_versioned=False,
        ),
    ),
]
