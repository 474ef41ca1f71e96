"""The HTTP application: routes, error shapes and what surrounds them. Running it is run.py's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from inglenook.config import ServerSettings
from inglenook.errors import InglenookError
from inglenook.gateway.response_store import ResponseStore
from inglenook.gateway.router import Router
from inglenook.server.background import end_background
from inglenook.server.errors import on_http_exception, on_inglenook_error
from inglenook.server.gate import Gate
from inglenook.server.routes import (
    admin,
    anthropic,
    classes,
    cohere,
    embeddings,
    flask_service,
    huggingface,
    llama_cpp,
    not_served,
    ollama,
    ollama_models,
    openai,
    prompts,
    ranking,
    sagemaker,
    tei,
)
from inglenook.server.routes import responses as responses_routes
from inglenook.server.state import ServerState


def create_app(
    router: Router, settings: ServerSettings, *, version: str, responses: ResponseStore | None = None
) -> Starlette:
    """An ASGI app that answers with the router's back ends, and closes them when its lifespan ends.

    `responses` keeps what the Responses route answered; None: nothing is kept.
    """
    state = ServerState(router, settings, version, responses or ResponseStore(None))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await end_background(state)
        state.responses.close()
        await router.close()

    app = Starlette(
        routes=[
            *openai.ROUTES,
            *responses_routes.ROUTES,
            *embeddings.ROUTES,
            *ranking.ROUTES,
            *classes.ROUTES,
            *cohere.ROUTES,
            *tei.ROUTES,
            *anthropic.ROUTES,
            *ollama.ROUTES,
            *ollama_models.ROUTES,
            *huggingface.ROUTES,
            *sagemaker.ROUTES,
            *llama_cpp.ROUTES,
            *flask_service.ROUTES,
            *prompts.ROUTES,
            *admin.ROUTES,
            *not_served.ROUTES,
        ],
        middleware=[Middleware(Gate, api_keys=settings.api_key, allowed_origins=settings.allowed_origins)],
        exception_handlers={InglenookError: on_inglenook_error, HTTPException: on_http_exception},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # the gate has taken the slashes off
    app.state.inglenook = state
    return app
