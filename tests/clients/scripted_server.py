"""`inglenook serve` with a model that says what it is told to: everything is real but the logits.

    scripted_server.py SCRIPT PROMPTS [arguments of inglenook serve]

SCRIPT is a file with a JSON list of texts. Each request takes the first one off the list; the logits then want its
tokens one after another, and the end of text behind them. What a guide forces or forbids goes its usual way: an answer
that leaves its text is an error. PROMPTS gets a line for each request: the prompt's text, as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import inglenook.engine.load
from fixtures.shape_check import install
from inglenook.checkpoint.checkpoint import open_checkpoint
from inglenook.cli.main import main
from inglenook.engine.batch import ScheduledStep
from inglenook.engine.load import LoadedEngine, load_engine
from inglenook.engine.model_runner import ModelRunner
from inglenook.engine.request import SampledToken
from inglenook.engine.sequence import Sequence
from inglenook.errors import EngineError, InvalidRequestError
from inglenook.ops.executor import BlockCopy, StepInput
from inglenook.text.tokenizer import Tokenizer

CERTAIN = 100.0  # a logit beside zeros


class ScriptedExecutor:
    def __init__(self) -> None:
        self.logits: npt.NDArray[np.float32] = np.zeros((0, 0), np.float32)

    def run(self, step: StepInput) -> npt.NDArray[np.float32]:
        assert len(step.selected_rows) == len(self.logits)
        return self.logits

    def copy_blocks(self, copies: SequenceOf[BlockCopy]) -> None:
        pass

    def close(self) -> None:
        pass


class ScriptedRunner:
    """The real runner with scripted logits in place of its executor's."""

    def __init__(self, runner: ModelRunner, tokenizer: Tokenizer, script: Path, prompts: Path) -> None:
        runner.executor.close()
        self._executor = runner.executor = ScriptedExecutor()
        self._runner = runner
        self._tokenizer = tokenizer
        self._script = script
        self._prompts = prompts
        self._texts: dict[str, bytes] = {}  # by request

    def prepare(self, sequence: Sequence) -> None:
        turns = json.loads(self._script.read_text())
        if not turns:
            raise InvalidRequestError("The script has no further turn.")
        self._script.write_text(json.dumps(turns[1:]))
        prompt = self._tokenizer.decode(sequence.request.prompt_token_ids, skip_special_tokens=False)
        with self._prompts.open("a") as file:
            file.write(json.dumps(prompt) + "\n")
        self._texts[sequence.request.request_id] = turns[0].encode()
        self._runner.prepare(sequence)

    def run(self, step: ScheduledStep) -> list[tuple[SampledToken, ...] | EngineError]:
        rows: list[npt.NDArray[np.float32]] = []
        errors: dict[int, EngineError] = {}
        for index, sequence in enumerate(step.sampled):
            drafts = step.drafts[index] if step.drafts else ()
            output = sequence.token_ids[len(sequence.request.prompt_token_ids) :]
            wanted = self._next(sequence, output)
            if wanted is None:
                said = self._bytes(output).decode(errors="replace")
                errors[index] = EngineError(f"The answer has left its script: {said!r} isn't its beginning.")
            rows.append(self._row(wanted))
            rows += [self._row(self._next(sequence, [*output, *drafts[: i + 1]])) for i in range(len(drafts))]
        self._executor.logits = np.array(rows)
        results = self._runner.run(step)
        for index, error in errors.items():
            results[index] = error
        return results

    def close(self) -> None:
        self._runner.close()

    def _next(self, sequence: Sequence, output: list[int]) -> int | None:
        """The token that the script has behind this output; None where it says something else."""
        text, said = self._texts[sequence.request.request_id], self._bytes(output)
        if not text.startswith(said):
            return None
        rest = text[len(said) :].decode(errors="ignore")
        if not rest:
            return min(sequence.request.eos_token_ids)
        return self._tokenizer.encode(rest, add_special_tokens=False)[0]

    def _bytes(self, token_ids: list[int]) -> bytes:
        return b"".join(map(self._tokenizer.token_bytes, token_ids))

    def _row(self, token_id: int | None) -> npt.NDArray[np.float32]:
        row = np.zeros(self._tokenizer.vocab_size, np.float32)
        if token_id is not None:
            row[token_id] = CERTAIN
        return row


def play(script: Path, prompts: Path) -> Callable[..., LoadedEngine]:
    """In place of load_engine."""

    def load(path: Path, *arguments: Any, **options: Any) -> LoadedEngine:
        checkpoint = open_checkpoint(path, load_format="auto")
        tokenizer = Tokenizer.from_gguf(checkpoint.config)
        checkpoint.close()

        def instrument(runner: ModelRunner) -> ScriptedRunner:
            return ScriptedRunner(runner, tokenizer, script, prompts)

        return load_engine(path, *arguments, instrument=instrument, **options)

    return load


if __name__ == "__main__":
    install()
    inglenook.engine.load.load_engine = play(Path(sys.argv[1]), Path(sys.argv[2]))
    main(["serve", *sys.argv[3:]])
