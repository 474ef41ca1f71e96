"""Structured output beside free text: the same prompts with a grammar and without, as many tokens of each."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from inglenook.backends.answer_guides import make_compiler
from inglenook.backends.model_files import load_tokenizer
from inglenook.bench.rows import Figure
from inglenook.bench.subject import Subject
from inglenook.bench.workload import Workload
from inglenook.engine.guide import StartGuide
from inglenook.engine.request import EngineRequest
from inglenook.grammar.constraint import constraint_body
from inglenook.grammar.response import response_grammar
from inglenook.lark import CallBlock, Lark, json_value
from inglenook.types import Constraint

NUM_TOKENS = 64  # of each answer, at most
NUM_RUNS = 11  # of each kind, in turns
SETTINGS = {"max_model_len": 1024}

_TEXT = {"type": "string", "maxLength": 40}
# More than an answer of NUM_TOKENS can hold, so that none ends before.
PEOPLE = {
    "type": "array",
    "minItems": 100,
    "items": {
        "type": "object",
        "properties": {
            "name": _TEXT,
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "city": _TEXT,
            "is_member": {"type": "boolean"},
            "tags": {"type": "array", "items": _TEXT, "maxItems": 4},
        },
        "required": ["name", "age", "city", "is_member", "tags"],
        "additionalProperties": False,
    },
}
WORDS = {"type": "array", "minItems": 100, "items": {"type": "string", "minLength": 30}}
_AMOUNTS = ("net_amount", "tax_rate_percent", "tax_amount", "discount_percent", "shipping_cost", "gross_amount")
_NAMES = (
    *("invoice_number", "customer_name", "customer_street_address", "customer_postal_code", "customer_city"),
    *("customer_country", "customer_email_address", "supplier_name", "supplier_tax_number", "currency"),
    *("payment_method", "bank_account_number", "purchase_order_number", "contact_person"),
)
INVOICE = {
    "type": "object",
    "properties": {
        **{name: {"type": "string", "maxLength": 12} for name in _NAMES},
        **{name: {"type": "integer", "minimum": 0, "maximum": 9999} for name in _AMOUNTS},
    },
    "required": [*_NAMES, *_AMOUNTS],
    "additionalProperties": False,
}

TOPICS = ("a bakery", "a school", "a harbour", "a football club", "a library", "a farm", "a theatre", "a hotel")


class Grammars:
    """A model's tokens for texts and grammars."""

    def __init__(self, subject: Subject) -> None:
        loaded = subject.loaded
        size = loaded.config.vocab_size
        self.tokenizer = load_tokenizer(loaded.checkpoint, size)
        self.compiler = make_compiler(
            self.tokenizer, vocab_size=size, special_tokens={}, end_ids=self.tokenizer.end_of_turn_ids
        )

    def schema(self, schema: Mapping[str, Any]) -> StartGuide:
        body = constraint_body(Constraint("json_schema", schema, "response_format"), {})
        return self._start(response_grammar(body=body, special_tokens={}))

    def unused_tools(self) -> StartGuide:
        """Free text, in which a call may begin."""
        call = Lark(f'{json_value(INVOICE)} "</tool_call>"')
        blocks = [CallBlock("<tool_call>", call)]
        return self._start(response_grammar(blocks=blocks, special_tokens={}))

    def _start(self, grammar: str) -> StartGuide:
        return self.compiler.compile(grammar, param="response_format").start


def measure(subject: Subject, start: Callable[[Grammars], StartGuide], num_sequences: int, max_tokens: int) -> Figure:
    """Tokens per second with a grammar, as a share of those without."""
    grammars = Grammars(subject)
    guide = start(grammars)
    prompts = [
        tuple(grammars.tokenizer.encode(f"{number}. The data of {topic} as JSON, on a single line:\n"))
        for number, topic in enumerate((TOPICS * 8)[:num_sequences], 1)
    ]
    subject.arrivals([replace(subject.request(prompt, 16), start_guide=guide) for prompt in prompts])
    guided: list[float] = []
    free: list[float] = []
    for _ in range(NUM_RUNS):
        requests = [replace(subject.request(prompt, max_tokens), start_guide=guide) for prompt in prompts]
        rate, counts = _rate(subject, requests)
        guided.append(rate)
        requests = [subject.request(prompt, count) for prompt, count in zip(prompts, counts, strict=True)]
        free.append(_rate(subject, requests)[0])
    return Figure(tuple(guided), "tokens/s", lambda _: statistics.median(free), of="free text")


def _rate(subject: Subject, requests: Sequence[EngineRequest]) -> tuple[float, list[int]]:
    """Tokens per second of all together, and how many each got."""
    begin = time.perf_counter()
    arrivals = subject.arrivals(requests)
    seconds = max(times[-1] for times in arrivals) - begin
    counts = [len(times) for times in arrivals]
    return sum(counts) / seconds, counts


def _workload(name: str, start: Callable[[Grammars], StartGuide], num_sequences: int, max_tokens: int) -> Workload:
    return Workload(name, lambda subject: measure(subject, start, num_sequences, max_tokens), model=SETTINGS)


STRUCTURED = (
    _workload("json-schema-16", lambda grammars: grammars.schema(PEOPLE), 16, NUM_TOKENS),
    _workload("json-strings-16", lambda grammars: grammars.schema(WORDS), 16, NUM_TOKENS),
    _workload("json-invoice-1", lambda grammars: grammars.schema(INVOICE), 1, 256),
    _workload("json-invoice-16", lambda grammars: grammars.schema(INVOICE), 16, NUM_TOKENS),
    _workload("unused-tools-16", Grammars.unused_tools, 16, NUM_TOKENS),
)
