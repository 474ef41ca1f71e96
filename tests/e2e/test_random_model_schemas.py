"""Random weights under JSON Schemas, through the whole engine: what they write validates, or wasn't finished."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, assume, given, settings
from jsonschema import Draft202012Validator

from fixtures.schemas import WRITTEN, random_schemas
from inglenook import LLM
from inglenook.errors import InvalidRequestError

NUM_ANSWERS = 4


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM("dummy:tiny", seed=0) as model:
        yield model


def answers(llm: LLM, schema: Any, **options: Any) -> list[Any]:
    """Several at a time, so that batches, forced runs and drafts meet."""
    held = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    options = {"max_tokens": 300, "temperature": 1.5, "seed": 1, **options}
    return llm.generate(["Once "], n=NUM_ANSWERS, response_format=held, **options)


def check(schema: Any, results: list[Any]) -> int:
    """How many came to their end."""
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    finished = [result for result in results if result.finish_reason != "length"]
    for result in finished:
        assert result.finish_reason == "stop"
        errors = [error.message for error in validator.iter_errors(json.loads(result.text))]
        assert not errors, f"{result.text} is written under {json.dumps(schema)}: {errors[0]}"
    return len(finished)


def test_written_schemas(llm: LLM) -> None:
    num_finished = 0
    for schema in WRITTEN:
        plain = answers(llm, schema)
        num_finished += check(schema, plain)
        with_logprobs = answers(llm, schema, logprobs=1)
        assert [result.token_ids for result in plain] == [result.token_ids for result in with_logprobs]
    assert num_finished > 2 * len(WRITTEN)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(random_schemas())
def test_random_schemas(llm: LLM, schema: Any) -> None:
    try:
        Draft202012Validator.check_schema(schema)
        results = answers(llm, schema)
    except jsonschema.SchemaError:
        assume(False)
    except InvalidRequestError:
        return  # what may be refused, and how, is the unit tests' question
    check(schema, results)
