"""What models are called: by their own names, by aliases, and by names that mean whatever there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from inglenook.errors import ConfigError, ModelNotFoundError
from inglenook.types import ModelCard, Task

# What clients send that want whatever there is: AutoGen's documents, several proxies, huggingface_hub, TGI's documents.
ANY_NAMES = frozenset(("", "NotRequired", "default", "dummy", "tgi"))

_MAX_NAMED_MODELS = 10
_MAX_NAME_CHARS = 100


class ModelNames:
    """From a name in a request to one of `cards`. With `any_model` no name is unknown, as with LiteLLM's one model."""

    def __init__(
        self, cards: Sequence[ModelCard], aliases: Mapping[str, str] | None = None, *, any_model: bool = False
    ) -> None:
        """Raises ConfigError where an alias can't be."""
        self._cards: dict[str, ModelCard] = {}
        for card in cards:
            self._cards.setdefault(card.name, card)
        self._aliases = dict(aliases or {})
        self._any_model = any_model
        check_aliases(self._aliases, self._cards)

    def cards(self) -> list[ModelCard]:
        """Every model under every name of its own; aliases come last."""
        aliases = (replace(self._cards[target], name=name) for name, target in self._aliases.items())
        return [*self._cards.values(), *aliases]

    def card(self, name: str) -> ModelCard:
        """What is listed under this name. Raises ModelNotFoundError."""
        card = self._cards.get(self._aliases.get(name, name))
        if card is None:
            raise self._not_found(name)
        return replace(card, name=name)

    def knows(self, name: str) -> bool:
        return name in self._cards or name in self._aliases

    def resolve(self, name: str, *tasks: Task) -> str:
        """The model's own name. Names that mean any model mean the first that does one of `tasks`, tried in order.

        Where no model does, it is the first of all. Raises ModelNotFoundError.
        """
        own = self._aliases.get(name, name)
        if own in self._cards:
            return own
        if self._cards and (self._any_model or name in ANY_NAMES):
            able = (own for task in tasks for own in self._able(task))
            return next(able, next(iter(self._cards)))
        raise self._not_found(name)

    def able(self, *tasks: Task) -> str:
        """The names of models that do one of these, in words; nothing where there is none."""
        return ", ".join([name for name, card in self._cards.items() if card.task in tasks][:_MAX_NAMED_MODELS])

    def _able(self, task: Task) -> Iterable[str]:
        return (name for name, card in self._cards.items() if card.task == task)

    def _not_found(self, name: str) -> ModelNotFoundError:
        shown = name if len(name) <= _MAX_NAME_CHARS else f"{name[:_MAX_NAME_CHARS]}..."
        names = [*self._cards, *self._aliases]
        there = ", ".join(names[:_MAX_NAMED_MODELS]) or "none"
        more = f" and {len(names) - _MAX_NAMED_MODELS} more" if len(names) > _MAX_NAMED_MODELS else ""
        return ModelNotFoundError(f"The model {shown!r} doesn't exist. This server has: {there}{more}.", param="model")


def parse_aliases(texts: Sequence[str]) -> dict[str, str]:
    """NAME=MODEL each; the first = divides, as sources of models may hold one. Raises ConfigError."""
    aliases: dict[str, str] = {}
    for text in texts:
        name, divider, target = (part.strip() for part in text.partition("="))
        if not (name and divider and target):
            raise ConfigError(f"alias: {text!r} isn't NAME=MODEL, as in gpt-3.5-turbo=smollm2:135m.", param="alias")
        if aliases.setdefault(name, target) != target:
            raise ConfigError(f"alias: {name} is given twice, for {aliases[name]} and for {target}.", param="alias")
    return aliases


def check_aliases(aliases: Mapping[str, str], names: Iterable[str]) -> None:
    """Raise ConfigError for an alias of an unknown model, and for one that hides a model's own name."""
    known = list(names)
    for name, target in aliases.items():
        if name in known:
            raise ConfigError(f"alias: {name} is the name of a model that is served itself.", param="alias")
        if target not in known:
            there = ", ".join(known[:_MAX_NAMED_MODELS]) or "none"
            raise ConfigError(f"alias: {name} means {target}, which isn't served. Models: {there}.", param="alias")


def check_names(names_of_models: Iterable[Sequence[str]]) -> list[str]:
    """All names, of one model after another. Raises ConfigError where two models would go by the same."""
    seen: list[str] = []
    for names in names_of_models:
        taken = [name for name in names if name in seen]
        if taken:
            raise ConfigError(
                f"Two models would be served as {taken[0]}. Give each a served_model_name of its own in the settings "
                "file's [[models]]; --served-model-name is for a server of one model, and --alias NAME=MODEL gives "
                "further names.",
                param="served_model_name",
            )
        seen += names
    return seen
