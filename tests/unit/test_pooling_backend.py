"""From requests to rows of the engine and back: prompts, bounds, token types, normalisation, widths, scores."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inglenook.backends.pooling import PoolingBackend
from inglenook.backends.pooling_traits import PoolingTraits, read_traits
from inglenook.backends.vectors import class_scores
from inglenook.engine.pooling import PoolingInput, PoolingStats
from inglenook.errors import (
    CheckpointError,
    ContextLengthError,
    InvalidRequestError,
    UnsupportedModelError,
    UnsupportedTaskError,
)
from inglenook.text.tokenizer import Tokenizer
from inglenook.types import (
    ChatRequest,
    ClassifyRequest,
    CompletionRequest,
    EmbedRequest,
    SamplingParams,
    ScoreRequest,
    TextPair,
)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "two", "three", "four", "query", "text", ":"]
CLS, SEP, ONE, TWO, THREE, FOUR, QUERY, TEXT, COLON = 2, 3, 5, 6, 7, 8, 9, 10, 11
PROMPTS = {"query": "query: ", "passage": "text: ", "other": "four "}


@dataclass
class FakeEncoder:
    """A row: how often each of the words one to four is there; the logit of a ranking model: their number less two."""

    width: int = 4
    inputs: list[PoolingInput] = field(default_factory=list)
    priorities: list[int] = field(default_factory=list)
    is_healthy: bool = True

    async def encode(self, inputs: Sequence[PoolingInput], *, priority: int = 0) -> list[np.ndarray]:
        self.inputs += inputs
        self.priorities.append(priority)
        counts = [np.array([i.token_ids.count(w) for w in range(ONE, ONE + 4)], np.float32) for i in inputs]
        return counts if self.width == 4 else [count.sum(keepdims=True) - 2 for count in counts]

    def stats(self) -> PoolingStats:
        return PoolingStats(1, 2, 3, 0, 5, 6)

    def stop(self) -> None:
        self.is_healthy = False


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    return Tokenizer.from_folder(tmp_path)


@dataclass
class Made:
    backend: PoolingBackend
    engine: FakeEncoder

    async def ids(self, *inputs: Any, **options: Any) -> list[tuple[int, ...]]:
        """What the engine gets for these inputs."""
        await self.backend.embed(EmbedRequest("id", "m", inputs=inputs, **options))
        taken, self.engine.inputs = self.engine.inputs, []
        return [given.token_ids for given in taken]

    async def vectors(self, *inputs: Any, **options: Any) -> list[list[float]]:
        answer = await self.backend.embed(EmbedRequest("id", "m", inputs=inputs, **options))
        assert answer.vectors.dtype == np.float32
        return answer.vectors.tolist()  # type: ignore[no-any-return]

    async def scores(self, *pairs: tuple[str, str], **options: Any) -> list[float]:
        return list((await self.backend.score(ScoreRequest("id", "m", pairs=pairs, **options))).scores)


def make(tokenizer: Tokenizer, task: Any = "embed", num_token_types: int = 2, **traits: Any) -> Made:
    engine = FakeEncoder(4 if task == "embed" else 1)
    backend = PoolingBackend(
        engine,
        tokenizer,
        PoolingTraits(**traits),
        task=task,
        names=["m", "alias"],
        root="root",
        max_model_len=6,
        vocab_size=len(WORDS),
        width=engine.width,
        num_token_types=num_token_types,
    )
    return Made(backend, engine)


async def test_texts_and_token_ids(tokenizer: Tokenizer) -> None:
    made = make(tokenizer)
    assert await made.ids("one two", "", (ONE, TWO)) == [(CLS, ONE, TWO, SEP), (CLS, SEP), (ONE, TWO)]
    assert await made.ids("one", add_special_tokens=False) == [(ONE,)]
    request = EmbedRequest("id", "m", 7, inputs=("one", (ONE, TWO)))
    answer = await made.backend.embed(request)
    assert answer.usage.prompt_tokens == 3 + 2
    assert made.engine.priorities[-1] == 7
    assert [card.name for card in made.backend.models()] == ["m", "alias"]
    assert {card.task for card in made.backend.models()} == {"embed"}


async def test_another_tokenizers_ids_come_with_a_warning(tokenizer: Tokenizer) -> None:
    made = make(tokenizer)
    for inputs, is_warned in [(((ONE, TWO),), True), (((CLS, ONE, SEP), "one"), False), (("one",), False)]:
        answer = await made.backend.embed(EmbedRequest("id", "m", inputs=inputs))
        assert bool(answer.warnings) == is_warned


async def test_a_token_behind_every_text_is_none_before_it(tmp_path: Path, tokenizer: Tokenizer) -> None:
    tokenizer._backend.save(str(tmp_path / "tokenizer.json"))
    write(tmp_path, "tokenizer_config.json", {"add_eos_token": True, "eos_token": "[MASK]"})
    backend = make(Tokenizer.from_folder(tmp_path)).backend
    answer = await backend.embed(EmbedRequest("id", "m", inputs=((ONE, TWO),)))
    assert answer.warnings == ()


@pytest.mark.parametrize(
    "options",
    [
        {"inputs": ()},
        {"inputs": ((),)},
        {"inputs": ("one", (ONE, len(WORDS)))},
        {"inputs": ((-1,),)},
        {"inputs": ("",), "add_special_tokens": False},
        {"inputs": ("one",), "truncate_prompt_tokens": 7},
        {"inputs": ("one",), "truncate_prompt_tokens": 0},
        {"inputs": ("one",), "truncate_prompt_tokens": 1},
        {"inputs": ("one",), "prompt_name": "query"},
        {"inputs": ("one",), "dimensions": 3},
    ],
    ids=str,
)
async def test_refusals(tokenizer: Tokenizer, options: Any) -> None:
    made = make(tokenizer)
    with pytest.raises(InvalidRequestError) as caught:
        await made.backend.embed(EmbedRequest("id", "m", **options))
    assert caught.value.param in ("input", *options)
    assert made.engine.inputs == []


async def test_too_long(tokenizer: Tokenizer) -> None:
    made = make(tokenizer)
    assert await made.ids("one one one one") == [(CLS, ONE, ONE, ONE, ONE, SEP)]
    for inputs in (("one", "one two one two one"), ("one", (ONE,) * 7)):
        with pytest.raises(ContextLengthError, match=r"6 tokens, and input\[1\] has 7"):
            await made.ids(*inputs)
    assert await made.ids("one two three four one", truncate_prompt_tokens=-1) == [(CLS, ONE, TWO, THREE, FOUR, SEP)]
    assert await made.ids("one two three", truncate_prompt_tokens=4) == [(CLS, ONE, TWO, SEP)]
    left: dict[str, Any] = {"truncate_prompt_tokens": 4, "truncation_side": "left"}
    assert await made.ids("one two three", **left) == [(CLS, TWO, THREE, SEP)]
    assert await made.ids((ONE, TWO, THREE, FOUR, ONE), **left) == [(TWO, THREE, FOUR, ONE)]
    assert await made.ids((ONE, TWO, THREE), truncate_prompt_tokens=2) == [(ONE, TWO)]


async def test_what_was_cut_is_said(tokenizer: Tokenizer) -> None:
    made = make(tokenizer)
    inputs = ("one", "one two three", (CLS, TWO, THREE, FOUR, SEP))
    answer = await made.backend.embed(EmbedRequest("id", "m", truncate_prompt_tokens=4, inputs=inputs))
    assert answer.warnings == ("Cut to 4 tokens, as truncate_prompt_tokens asks: input[1] and 1 more.",)
    for task in ("embed", "score"):
        pairs = (("one", "two"), ("one", "one two three four one"))
        request = ScoreRequest("id", "m", truncate_prompt_tokens=-1, pairs=pairs)
        scores = await make(tokenizer, task).backend.score(request)
        [warning] = scores.warnings
        assert "text 2" in warning or "pair 1" in warning


async def test_prompts(tokenizer: Tokenizer) -> None:
    made = make(tokenizer, prompts=PROMPTS, default_prompt_name="other")
    assert await made.ids("one") == [(CLS, FOUR, ONE, SEP)]
    assert await made.ids("one", prompt_name="query") == [(CLS, QUERY, COLON, ONE, SEP)]
    assert await made.ids("one", input_type="query") == [(CLS, QUERY, COLON, ONE, SEP)]
    assert await made.ids("one", input_type="document") == [(CLS, TEXT, COLON, ONE, SEP)]
    assert await made.ids((ONE,)) == [(ONE,)]
    with pytest.raises(InvalidRequestError, match="other, passage, query"):
        await made.ids("one", prompt_name="nothing")
    made = make(tokenizer)
    assert await made.ids("one", input_type="query") == [(CLS, ONE, SEP)]  # it has none, so it asks for nothing


async def test_an_empty_prompt_can_be_named(tokenizer: Tokenizer) -> None:
    made = make(tokenizer, prompts={"plain": "", "other": "four "}, default_prompt_name="other")
    assert await made.ids("one", prompt_name="plain") == [(CLS, ONE, SEP)]


async def test_normalisation(tokenizer: Tokenizer) -> None:
    root = float(np.float32(1 / math.sqrt(5)))
    made = make(tokenizer)
    assert await made.vectors("one one two") == [[2 * root, root, 0, 0]]
    assert await made.vectors("one one two", is_normalized=False) == [[2, 1, 0, 0]]
    assert await made.vectors("") == [[0, 0, 0, 0]]
    made = make(tokenizer, is_normalized=False)
    assert await made.vectors("one one two") == [[2, 1, 0, 0]]
    assert await made.vectors("one one two", is_normalized=True) == [[2 * root, root, 0, 0]]


async def test_widths(tokenizer: Tokenizer) -> None:
    assert len((await make(tokenizer).vectors("one", dimensions=4))[0]) == 4
    made = make(tokenizer, widths=frozenset((1, 2)))
    assert await made.vectors("one one three three", dimensions=2) == [[1, 0]]  # normalised after it is cut
    for width in (3, 5):
        with pytest.raises(InvalidRequestError, match="1, 2"):
            await made.vectors("one", dimensions=width)
    made = make(tokenizer, widths=frozenset())
    assert len((await made.vectors("one", dimensions=3))[0]) == 3
    with pytest.raises(InvalidRequestError, match="1 to 4"):
        await made.vectors("one", dimensions=5)


async def test_scores_of_vectors(tokenizer: Tokenizer) -> None:
    made = make(tokenizer)
    pairs = [("one", "one one"), ("one", "two"), ("one", "one two")]
    assert await made.scores(*pairs) == pytest.approx([1, 0, math.sqrt(0.5)])
    assert [given.token_ids for given in made.engine.inputs] == [  # each different text once
        (CLS, ONE, SEP),
        (CLS, ONE, ONE, SEP),
        (CLS, TWO, SEP),
        (CLS, ONE, TWO, SEP),
    ]
    assert await made.scores(pairs[2]) == [(await made.scores(*pairs))[2]]
    made = make(tokenizer, prompts=PROMPTS)
    await made.scores(("one", "one"))
    assert [given.token_ids for given in made.engine.inputs] == [
        (CLS, QUERY, COLON, ONE, SEP),
        (CLS, TEXT, COLON, ONE, SEP),
    ]


async def test_scores_of_pairs(tokenizer: Tokenizer) -> None:
    made = make(tokenizer, "score")
    assert await made.scores(("one", "two"), ("one", "two three")) == [0.5, pytest.approx(1 / (1 + math.exp(-1)))]
    assert made.engine.inputs[0] == PoolingInput((CLS, ONE, SEP, TWO, SEP), (0, 0, 0, 1, 1))
    assert await made.scores(("one", "two three"), is_raw=True) == [1]
    assert await make(tokenizer, "score", activation="identity").scores(("one", "")) == [-1]
    with pytest.raises(ContextLengthError, match="pair 1 has 7"):
        await made.scores(("one", "two"), ("one", "two two two"))
    assert await made.scores(("one", "two two two"), truncate_prompt_tokens=-1, is_raw=True) == [1]
    with pytest.raises(InvalidRequestError):
        await made.scores()
    with pytest.raises(UnsupportedTaskError):
        await made.ids("one")


async def test_models_without_token_types_get_none(tokenizer: Tokenizer) -> None:
    for num_types in (0, 1):
        made = make(tokenizer, "score", num_types)
        await made.scores(("one", "two"))
        assert made.engine.inputs == [PoolingInput((CLS, ONE, SEP, TWO, SEP))]


async def test_tokens_to_look_at(tokenizer: Tokenizer) -> None:
    backend = make(tokenizer, prompts=PROMPTS, default_prompt_name="other").backend
    request = CompletionRequest("id", "m", SamplingParams(), prompts=("One", (TWO,)))
    [text, ids] = await backend.render(request, with_tokens=True)
    assert [token.token_id for token in text.tokens] == [CLS, ONE, SEP]
    assert ids.token_ids == (TWO,)
    assert await backend.detokenize([CLS, ONE, SEP]) == "[CLS] one [SEP]"
    with pytest.raises(UnsupportedTaskError):
        await backend.render(ChatRequest("id", "m", SamplingParams()))


async def test_state(tokenizer: Tokenizer) -> None:
    made = make(tokenizer)
    stats = made.backend.stats()
    assert stats.gauges == {"num_requests_running": 1, "num_requests_waiting": 2}
    assert stats.counters == {"engine_steps_total": 3, "pooling_inputs_total": 5, "prompt_tokens_total": 6}
    assert made.backend.is_healthy()
    await made.backend.close()
    assert not made.backend.is_healthy()


# --- what models' files say -----------------------------------------------------------------------


def write(folder: Path, name: str, value: Any) -> None:
    (folder / name).write_text(json.dumps(value))


def test_files(tmp_path: Path) -> None:
    assert read_traits(tmp_path, {}) == read_traits(None, {}) == PoolingTraits()
    write(tmp_path, "config_sentence_transformers.json", {"prompts": PROMPTS, "default_prompt_name": "query"})
    write(tmp_path, "sentence_bert_config.json", {"max_seq_length": 128, "do_lower_case": True})
    traits = read_traits(tmp_path, {"matryoshka_dimensions": [64, 128]}, is_normalized=False)
    assert traits == PoolingTraits(PROMPTS, "query", False, is_lowercased=True, widths=frozenset((64, 128)))
    assert read_traits(None, {"is_matryoshka": True}).widths == frozenset()
    for name in ("torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"):
        kind = name.rpartition(".")[2].lower()
        assert read_traits(None, {"sbert_ce_default_activation_function": name}).activation == kind
        assert read_traits(None, {"sentence_transformers": {"activation_fn": name}}).activation == kind


def test_files_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="Tanh"):
        read_traits(None, {"sbert_ce_default_activation_function": "torch.nn.modules.activation.Tanh"})
    for value in ({"prompts": ["a"]}, {"prompts": {"a": 1}}, {"default_prompt_name": "a"}):
        write(tmp_path, "config_sentence_transformers.json", value)
        with pytest.raises(CheckpointError):
            read_traits(tmp_path, {})


async def test_lowercased_texts(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    write(tmp_path, "tokenizer_config.json", {"do_lower_case": False})
    cased = Tokenizer.from_folder(tmp_path)
    assert await make(cased).ids("One") == [(CLS, 1, SEP)]
    assert await make(cased, is_lowercased=True).ids("One") == [(CLS, ONE, SEP)]


# --- classes ------------------------------------------------------------------------------------------------------


async def test_classes(tokenizer: Tokenizer) -> None:
    made = make(tokenizer, "classify", labels=("a", "b", "c", "d"), is_lowercased=True)
    made.engine.width = 4
    inputs = ("one ONE two", (CLS, ONE, SEP), TextPair("one", "two two"))
    answer = await made.backend.classify(ClassifyRequest("id", "m", 7, inputs=inputs))
    ids = [given.token_ids for given in made.engine.inputs]
    assert ids == [(CLS, ONE, ONE, TWO, SEP), (CLS, ONE, SEP), (CLS, ONE, SEP, TWO, TWO, SEP)]
    assert made.engine.inputs[2].token_type_ids == (0, 0, 0, 1, 1, 1)
    assert made.engine.priorities == [7]
    assert answer.labels == ("a", "b", "c", "d")
    assert answer.usage.prompt_tokens == 5 + 3 + 6
    total = math.exp(2) + math.exp(1) + 2
    assert answer.scores[0] == pytest.approx([math.exp(2) / total, math.exp(1) / total, 1 / total, 1 / total])
    for function, expected in (("none", [1, 2, 0, 0]), ("sigmoid", [1 / (1 + math.exp(-n)) for n in (1, 2, 0, 0)])):
        request = ClassifyRequest("id", "m", inputs=inputs[2:], function=function)  # type: ignore[arg-type]
        assert (await made.backend.classify(request)).scores[0] == pytest.approx(expected)
    cut = ClassifyRequest("id", "m", inputs=(TextPair("one one one one", "two"),), truncate_prompt_tokens=-1)
    assert (await made.backend.classify(cut)).warnings == (
        "Cut to 6 tokens, as truncate_prompt_tokens asks: input[0].",
    )
    with pytest.raises(InvalidRequestError):
        await made.backend.classify(ClassifyRequest("id", "m"))
    with pytest.raises(UnsupportedTaskError, match="sorts texts into classes"):
        await made.backend.embed(EmbedRequest("id", "m", inputs=("one",)))
    with pytest.raises(UnsupportedTaskError):
        await made.backend.score(ScoreRequest("id", "m", pairs=(("one", "two"),)))
    with pytest.raises(UnsupportedTaskError, match="makes embeddings"):
        await make(tokenizer).backend.classify(ClassifyRequest("id", "m", inputs=("one",)))


def test_labels_and_functions() -> None:
    named = {"id2label": {"0": "x", "2": "z"}}
    assert read_traits(None, named, num_labels=3).labels == ("x", "LABEL_1", "z")
    assert read_traits(None, {}, num_labels=0).labels == ()
    for problem, num_labels, function in (
        (None, 1, "sigmoid"),
        (None, 2, "softmax"),
        ("single_label_classification", 2, "softmax"),
        ("multi_label_classification", 2, "sigmoid"),
        ("regression", 2, "none"),
        ("regression", 1, "none"),
    ):
        assert read_traits(None, {"problem_type": problem}, num_labels=num_labels).function == function
    with pytest.raises(UnsupportedModelError, match="problem_type"):
        read_traits(None, {"problem_type": "tagging"}, num_labels=2)
    with pytest.raises(CheckpointError, match="id2label"):
        read_traits(None, {"id2label": {"0": 3}}, num_labels=2)


def test_large_logits() -> None:
    """Nothing overflows, and a softmax adds up to 1."""
    assert class_scores(np.array([1e4, 0, -1e4], np.float32), "softmax") == [1, 0, 0]
    assert class_scores(np.array([1e4, 0, -1e4], np.float32), "sigmoid") == [1, 0.5, 0]
    many = class_scores(np.linspace(-9, 9, 1000, dtype=np.float32), "softmax")
    assert math.fsum(many) == pytest.approx(1, abs=1e-12)
