"""Scripts are replayed token by token, drafted or not."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest

from fixtures.drafters import made_eager
from inglenook.bench.replay import Replay, Script, edit_script, extract_script, random_script
from inglenook.bench.subject import Subject
from inglenook.config import EngineSettings, ModelSettings, SpeculativeSettings

VOCAB_SIZE = 256


@pytest.mark.parametrize("make", [edit_script, extract_script])
def test_scripts_are_long_enough_and_repeat_most_of_the_prompt(make: object) -> None:
    script = make(49152)  # type: ignore[operator]
    assert len(script.prompt) > 1000 and len(script.output) > 1000
    assert len(set(script.output) & set(script.prompt)) > 0.8 * len(set(script.output))
    assert script == make(49152)  # type: ignore[operator]


@pytest.mark.parametrize("is_drafted", [False, True])
def test_the_output_is_the_script(is_drafted: bool) -> None:
    prompt = random_script(VOCAB_SIZE, 40, 0).prompt
    script = Script(prompt, (*prompt, *prompt[:20]))
    subject = Subject(None, ModelSettings(model="dummy:tiny", max_model_len=128), EngineSettings(threads=1))
    try:
        request = replace(subject.request(script.prompt, 60), is_drafted=is_drafted)
        with subject.replaced_executor(lambda executor: Replay(executor, script)):
            outputs = list(subject.loaded.engine.generate_blocking([request]))
        (plain,) = subject.arrivals([subject.request(script.prompt, 60)])
        stats = subject.loaded.engine.stats()
    finally:
        subject.close()
    assert [token.token_id for output in outputs for token in output.tokens] == list(script.output)
    assert (stats.num_accepted_tokens > 20) == is_drafted
    assert len(plain) == 60  # the model's own again


def test_a_draft_model_that_knows_a_part_of_the_script() -> None:
    script = random_script(VOCAB_SIZE, 40, 60)
    model = ModelSettings(model="dummy:tiny", max_model_len=128)
    subject = Subject(
        None, model, EngineSettings(threads=1, speculative_config=SpeculativeSettings(model="dummy:tiny"))
    )
    try:
        made_eager(subject.loaded.engine._engine.scheduler.speculator)
        rates = []
        for accuracy in (1.0, 0.0):
            request = replace(subject.request(script.prompt, 60), is_drafted=True)
            before = subject.loaded.engine.stats()
            with (
                subject.replaced_executor(lambda executor: Replay(executor, script)),
                subject.replaced_executor(
                    functools.partial(Replay, script=script, accuracy=accuracy), of_draft_model=True
                ),
            ):
                outputs = list(subject.loaded.engine.generate_blocking([request]))
            after = subject.loaded.engine.stats()
            assert [token.token_id for output in outputs for token in output.tokens] == list(script.output)
            num_drafted = after.num_draft_tokens - before.num_draft_tokens
            rates.append((after.num_accepted_tokens - before.num_accepted_tokens) / num_drafted)
    finally:
        subject.close()
    assert rates == [1.0, 0.0]
