"""Served in process: the real tokenizer, template, parsers, grammar and HTTP layers over an engine that plays texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest

from fixtures.scripted_engine import ScriptedEngine, scripted_backend
from inglenook.config import ServerSettings
from inglenook.gateway.router import Router
from inglenook.server.app import create_app
from inglenook.text.tokenizer import Tokenizer

QUESTION: Any = [{"role": "user", "content": "Hi"}]

# Byte tokenizers have no template of their own. Both name tools as a family's would: what a format is found by is
# tested with the real templates.
TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}\n{% endif %}"
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}model: {% endif %}"
)
TEMPLATE_WITHOUT_TOOLS = TEMPLATE[TEMPLATE.index("{% for") :]


@dataclass
class Served:
    engine: ScriptedEngine
    client: openai.AsyncOpenAI
    http: httpx.AsyncClient


@pytest.fixture
def serve() -> Callable[..., Served]:
    def start(tokenizer: Tokenizer, texts: list[str], template: str = TEMPLATE, **settings: Any) -> Served:
        backend, engine = scripted_backend(tokenizer, template, texts, **settings)
        app = create_app(Router([backend]), ServerSettings(), version="0")
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test/v1")
        client = openai.AsyncOpenAI(base_url="http://test/v1", api_key="none", max_retries=0, http_client=http)
        return Served(engine, client, http)

    return start
