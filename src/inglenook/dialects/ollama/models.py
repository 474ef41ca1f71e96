"""Model cards -> Ollama's JSON: what there is, what runs, and what is known of one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from inglenook.dialects.ollama import wire
from inglenook.dialects.ollama.answers import encode_json, timestamp
from inglenook.types import ModelCard, ModelDetails

_LATEST = ":latest"
_NEVER = "9999-12-31T23:59:59Z"  # models stay loaded

# The version of Ollama's interface that these routes follow: clients look whether it is new enough for them.
INTERFACE_VERSION = "0.12.6"


def spellings(name: str) -> tuple[str, ...]:
    """The names that mean the same as `name`, itself first: without a tag, latest is meant."""
    if name.endswith(_LATEST):
        return name, name.removesuffix(_LATEST)
    return name, name + _LATEST


def tags_body(cards: Iterable[ModelCard]) -> bytes:
    return encode_json(wire.TagList([_tag(card) for card in cards]))


def processes_body(cards: Iterable[ModelCard]) -> bytes:
    return encode_json(wire.ProcessList([_process(card) for card in cards]))


def show_body(card: ModelCard) -> bytes:
    known = card.details
    body = wire.ShowBody(
        _modelfile(card),
        _parameters(known),
        known.template,
        _details(known),
        {
            "general.architecture": known.architecture,
            "general.parameter_count": known.num_parameters,
            **{f"{known.architecture}.{name}": size for name, size in known.sizes.items()},
        },
        _capabilities(card),
        _modified(card),
    )
    if known.license:
        body.license = known.license
    return encode_json(body)


def version_body() -> bytes:
    return encode_json(wire.VersionBody(INTERFACE_VERSION))


# --- parts ----------------------------------------------------------------------------------------


def _tag(card: ModelCard) -> wire.TagBody:
    name, known = _name(card), card.details
    return wire.TagBody(
        name, name, _modified(card), known.num_bytes, _digest(card), _details(known), _capabilities(card)
    )


def _process(card: ModelCard) -> wire.ProcessBody:
    name, known = _name(card), card.details
    return wire.ProcessBody(name, name, known.num_bytes, _digest(card), _details(known), _NEVER, 0, card.max_model_len)


def _name(card: ModelCard) -> str:
    """With a tag, as all of Ollama's."""
    return card.name if ":" in card.name.rpartition("/")[2] else card.name + _LATEST


def _modified(card: ModelCard) -> str:
    return timestamp(int((card.details.modified or card.created) * 1e9))


def _digest(card: ModelCard) -> str:
    """Another one for other files; nobody here has read all of them for it."""
    known = card.details
    text = f"{card.root}\n{known.num_bytes}\n{known.modified}"
    return hashlib.sha256(text.encode()).hexdigest()


def _details(known: ModelDetails) -> wire.DetailsBody:
    families = [known.architecture] if known.architecture else []
    size = _parameter_size(known.num_parameters)
    return wire.DetailsBody("", known.format, known.architecture, families, size, known.quantization)


def _parameter_size(number: int) -> str:
    """134.52M, 8.0B; empty where it isn't known."""
    if not number:
        return ""
    return f"{number / 1e9:.1f}B" if number >= 1e9 else f"{number / 1e6:.2f}M"


def _capabilities(card: ModelCard) -> list[str]:
    if card.task != "generate":
        return ["embedding"] if card.task == "embed" else []
    known = card.details
    return ["completion", "tools", *["insert"] * known.fills_middle, *["thinking"] * known.is_thinking]


def _parameters(known: ModelDetails) -> str:
    """A line for each, as a Modelfile has them."""
    names = {"repetition_penalty": "repeat_penalty"}
    return "\n".join(f"{names.get(name, name):<30} {value:g}" for name, value in known.sampling.items())


def _modelfile(card: ModelCard) -> str:
    known = card.details
    lines = [f"FROM {card.root}"]
    if known.template:
        lines.append(f'TEMPLATE """{known.template}"""')
    lines += [f"PARAMETER {' '.join(line.split())}" for line in _parameters(known).splitlines()]
    return "\n".join(lines) + "\n"
