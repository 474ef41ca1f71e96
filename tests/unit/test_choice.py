"""One choice: stop tokens, stop strings, and log-probabilities that stay with their text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inglenook.backends.choice import Choice
from inglenook.engine.request import EngineOutput, SampledToken
from inglenook.text.tokenizer import Tokenizer
from inglenook.types import Delta, SamplingParams

TOKENIZER = Tokenizer.dummy(300)  # ids below 256 are bytes


def tokens(text: str) -> list[SampledToken]:
    return [SampledToken(token_id, -0.5 - i, ((token_id, -0.5 - i),)) for i, token_id in enumerate(text.encode())]


def run(choice: Choice, outputs: list[EngineOutput]) -> list[Delta]:
    deltas = []
    for output in outputs:
        delta = choice.take(output)
        if delta is not None:
            deltas.append(delta)
        if choice.is_finished:
            break
    return deltas


def make(**params: object) -> Choice:
    return Choice(0, TOKENIZER, SamplingParams(**params), is_continuation=True)  # type: ignore[arg-type]


def joined(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def outputs_of(text: str, sizes: list[int], stop_token_id: int | None = None) -> list[EngineOutput]:
    """The tokens of a text in outputs of these sizes; a stop token, if any, comes with the last."""
    rest, outputs = tokens(text), []
    for size in sizes:
        outputs.append(EngineOutput("r", tuple(rest[:size])))
        rest = rest[size:]
    end = () if stop_token_id is None else (SampledToken(stop_token_id, -1.0),)
    reason = "length" if stop_token_id is None else "stop"
    return [*outputs, EngineOutput("r", (*rest, *end), reason, stop_token_id)]


@given(st.text(max_size=30), st.lists(st.integers(0, 5), max_size=20))
def test_no_logprob_is_lost(text: str, sizes: list[int]) -> None:
    deltas = run(make(logprobs=1), outputs_of(text, sizes))
    assert joined(deltas) == text
    assert b"".join(entry.bytes for delta in deltas for entry in delta.logprobs) == text.encode()
    assert [token_id for delta in deltas for token_id in delta.token_ids] == list(text.encode())
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["length"]


@given(st.lists(st.integers(0, 3), max_size=20))
def test_a_stop_string_takes_its_tokens_along(sizes: list[int]) -> None:
    choice = make(logprobs=0, stop=("<stop>",))
    deltas = run(choice, outputs_of("one <st two <stop> three", sizes))
    assert joined(deltas) == "one <st two "
    assert b"".join(entry.bytes for delta in deltas for entry in delta.logprobs) == b"one <st two "
    assert deltas[-1].finish_reason == "stop"
    assert deltas[-1].stop_reason == "<stop>"


def test_text_that_only_looked_like_a_stop_string_comes_out_at_the_end() -> None:
    deltas = run(make(stop=("<stop>",)), outputs_of("one <sto", [3]))
    assert joined(deltas) == "one <sto"
    assert deltas[-1].finish_reason == "length"


def test_end_of_text_is_counted_but_not_shown() -> None:
    choice = make(logprobs=0)
    deltas = run(choice, outputs_of("ab", [], stop_token_id=299))
    assert joined(deltas) == "ab"
    assert choice.num_tokens == 3
    assert len(deltas[-1].logprobs) == 2
    assert deltas[-1].stop_reason is None


def test_a_clients_stop_token_is_named_and_shown_on_demand() -> None:
    hidden = run(make(stop_token_ids=(299,)), outputs_of("ab", [1], stop_token_id=299))
    assert (joined(hidden), hidden[-1].stop_reason) == ("ab", 299)
    shown = run(make(stop_token_ids=(299,), include_stop_str_in_output=True), outputs_of("ab", [1], stop_token_id=299))
    assert joined(shown) == "ab" + TOKENIZER.token_text(299)
