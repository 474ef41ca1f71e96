"""The OpenAPI document is true: random requests made after it get documented statuses and shapes, and never a 500."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.types import Receive, Scope, Send

from fixtures.scripted_pooler import ScriptedPooler
from fixtures.served import serve
from fixtures.tool_cases.vocabulary import byte_tokenizer
from inglenook.config import ServerSettings
from inglenook.gateway.router import Router
from inglenook.server.api_route import ApiRoute
from inglenook.server.app import create_app
from inglenook.server.paths import tidy


def no_crash(context: Any, response: Any, case: Any) -> bool | None:
    """501 is an answer where it is documented, which status_code_conformance sees to."""
    return None if response.status_code == 501 else not_a_server_error(context, response, case)


CHECKS = (
    no_crash,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


SERVED = serve(byte_tokenizer(("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")), ["An answer."])
SERVED.engine.is_guided = False  # it says the same whatever is asked of it
APP = SERVED.app
POOLERS = [ScriptedPooler(), ScriptedPooler("classify", "classes")]
POOLER = create_app(Router(POOLERS), ServerSettings(), version="0")
# How paths begin that other models answer.
POOLED = ("embed", "rerank", "score", "v2", "api/embed", "classify", "pooling", "predict", "similarity")


async def served(scope: Scope, receive: Receive, send: Send) -> None:
    """The app without its lifespan: the client begins and ends one for each request, and an end is for good."""
    if scope["type"] == "http":
        is_pooled = tidy(scope)["path"].lstrip("/").startswith(POOLED)
        await (POOLER if is_pooled else APP)(scope, receive, send)
    while scope["type"] == "lifespan":
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


OPERATIONS = [
    operation
    for result in schemathesis.openapi.from_asgi("/openapi.json", served).get_all_operations()
    if not {"200", "201"}.isdisjoint((operation := result.ok()).definition.raw["responses"])  # not only 501
]


def check(operation: Any, mode: GenerationMode) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    def run(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS)

    run()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_requests_that_fit_the_document(operation: Any) -> None:
    check(operation, GenerationMode.POSITIVE)


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.body], ids=lambda operation: operation.label)
def test_requests_that_do_not_fit_the_document(operation: Any) -> None:
    check(operation, GenerationMode.NEGATIVE)


def test_names_are_unique() -> None:
    names = [route.name for route in APP.routes]
    assert sorted(names) == sorted(set(names))


def test_every_route_is_described() -> None:
    assert [route for route in APP.routes if not isinstance(route, ApiRoute)] == []
