"""Token streams as a good model would write them, replayed on a model of any weights.

The whole step is computed, sampling included; only the logit of the token that comes next in the script is raised
before the sampler looks, so that it is what gets chosen. Drafts are checked as ever: a wrong one is rejected.
"""

from __future__ import annotations

import inspect
import random
import re
import textwrap
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inglenook.ops.executor import BlockCopy, Executor, StepInput

NUM_LINES = 300
NUM_RECORDS = 24
_RAISED = np.float32(1e30)
_PIECES = re.compile(r" ?[^\W\d_]{1,7}|[^\W\d_]{1,7}|\d{1,3}| ?[^\w\s]+|_+|\n +|\s", re.ASCII)


@dataclass(frozen=True)
class Script:
    prompt: tuple[int, ...]
    output: tuple[int, ...]


class Replay:
    """Takes an executor's place while one script is played, by one sequence at a time. `accuracy`: share of the places
    at which it knows the script; at the others it says something else.
    """

    def __init__(self, executor: Executor, script: Script, accuracy: float = 1.0) -> None:
        self.executor = executor
        self._tokens = np.array(script.prompt + script.output)
        is_wrong = np.random.default_rng(0).random(len(self._tokens)) >= accuracy
        self._tokens[is_wrong] ^= 1

    def run(self, step: StepInput) -> npt.NDArray[np.float32]:
        logits: npt.NDArray[np.float32] = self.executor.run(step).copy()  # it may not be written to
        following = step.positions[step.selected_rows] + 1
        rows = np.flatnonzero(following < len(self._tokens))
        logits[rows, self._tokens[following[rows]]] = _RAISED
        return logits

    def copy_blocks(self, copies: Sequence[BlockCopy]) -> None:
        self.executor.copy_blocks(copies)

    def close(self) -> None:
        self.executor.close()


def edit_script(vocab_size: int) -> Script:
    """A file of 300 lines, and the same file with a name changed throughout, lines dropped, changed and added."""
    before = "\n".join(inspect.getsource(textwrap).splitlines()[:NUM_LINES])
    lines = []
    for number, line in enumerate(before.splitlines()):
        if number % 37 == 19:
            continue
        line = re.sub(r"\bwidth\b", "max_columns", line)
        if number % 29 == 11:
            line = line.replace("text", "source").replace("lines", "rows").replace("True", "False")
        lines.append(line)
        if number % 41 == 7:
            lines.append(" " * (len(line) - len(line.lstrip())) + f"# checked against case {number} of the report")
    request = (
        "Rename width to max_columns in this file, and apply the review's remarks. Answer with the whole file.\n\n"
    )
    return _script(request + before + "\n\n", "\n".join(lines), vocab_size)


def extract_script(vocab_size: int) -> Script:
    """A document about two dozen deliveries, and the JSON of what it says of each."""
    rng = random.Random(0)
    texts, records = [], []
    for number in range(NUM_RECORDS):
        values = {
            "order": f"{rng.randrange(10**5, 10**6)}-{rng.choice('ABCDEFGH')}",
            "customer": f"{rng.choice(_FIRST_NAMES)} {rng.choice(_LAST_NAMES)}",
            "address": f"{rng.randrange(1, 200)} {rng.choice(_STREETS)}, {rng.choice(_CITIES)}",
            "goods": f"{rng.choice(_ADJECTIVES)} {rng.choice(_GOODS)} and {rng.randrange(2, 30)} {rng.choice(_GOODS)}",
            "weight_kg": f"{rng.randrange(1, 90)}.{rng.randrange(10)}",
            "remark": f"{rng.choice(_REMARKS)} {rng.choice(_REMARKS)}".capitalize(),
        }
        texts.append(
            f"On day {number + 1} we handed over order {values['order']} for {values['customer']}, who lives at "
            f"{values['address']}. The parcel held {values['goods']} and weighed {values['weight_kg']} kg. "
            f"The driver wrote: {values['remark']}.\n"
        )
        fields = ",\n".join(f'    "{name}": "{value}"' for name, value in values.items())
        records.append("  {\n" + fields + "\n  }")
    request = (
        "Extract every delivery from this report as JSON with order, customer, address, goods, weight and remark.\n"
    )
    return _script(request + "".join(texts) + "\n", "[\n" + ",\n".join(records) + "\n]\n", vocab_size)


def random_script(vocab_size: int, num_prompt_tokens: int, num_tokens: int) -> Script:
    """Nothing repeats, beyond chance."""
    tokens = np.random.default_rng(0).integers(0, vocab_size, num_prompt_tokens + num_tokens).tolist()
    return Script(tuple(tokens[:num_prompt_tokens]), tuple(tokens[num_prompt_tokens:]))


def _script(prompt: str, output: str, vocab_size: int) -> Script:
    return Script(_tokens(prompt, vocab_size), _tokens(output, vocab_size))


def _tokens(text: str, vocab_size: int) -> tuple[int, ...]:
    """Pieces of words, numbers, punctuation and indentation, about as long as a tokenizer's."""
    return tuple(zlib.crc32(piece.encode()) % vocab_size for piece in _PIECES.findall(text))


_FIRST_NAMES = ("Agnes", "Bela", "Chidi", "Dorothea", "Emre", "Farah", "Goran", "Hanneke", "Ines", "Jonas", "Katya")
_LAST_NAMES = ("Abernathy", "Bergstrom", "Castellano", "Dubois", "Eriksen", "Fontaine", "Grabowski", "Haraldsen")
_STREETS = ("Harbour Street", "Mill Lane", "Station Road", "Orchard Close", "Castle Terrace", "Weavers Yard")
_CITIES = ("Aberdeen", "Bruges", "Coimbra", "Delft", "Esbjerg", "Freiburg", "Galway", "Heraklion", "Innsbruck")
_ADJECTIVES = ("wooden", "spare", "enamelled", "folding", "antique", "hand-made", "waterproof", "oversized")
_GOODS = ("lantern brackets", "bicycle pedals", "roof tiles", "kitchen scales", "piano strings", "garden chairs")
_REMARKS = (
    "nobody answered the door so a neighbour signed for it",
    "the lift was out of order and the stairs were icy",
    "one corner was dented but the customer took it anyway",
    "paid in cash and asked for a receipt by letter",
    "the dog had to be tied up before we could unload",
    "left in the shed behind the house as agreed by phone",
)
