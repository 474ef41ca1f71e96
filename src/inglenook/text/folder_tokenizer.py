"""A tokenizer from a model folder as Hugging Face lays it out: tokenizer.json, tokenizer_config.json and their kin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inglenook.errors import CheckpointError, UnsupportedModelError
from inglenook.text.parts import TokenizerParts

if TYPE_CHECKING:
    import tokenizers

_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


def from_folder(path: Path) -> TokenizerParts:
    """Raises CheckpointError for a missing or broken file, UnsupportedModelError for a format that isn't read."""
    config = _read_json(path / "tokenizer_config.json")
    special_tokens = _special_tokens({**_read_json(path / "special_tokens_map.json"), **config})
    if (path / "vocab.txt").is_file() and not (path / "tokenizer.json").is_file():
        from inglenook.text.wordpiece import read_vocabulary

        backend, special_tokens = read_vocabulary(path / "vocab.txt", special_tokens, config)
    else:
        backend = _read_backend(path)
    _add_named_tokens(backend, special_tokens, config)
    return TokenizerParts(
        backend=backend,
        special_tokens=special_tokens,
        chat_templates=_chat_templates(path, config),
        affixes=_affixes(backend, special_tokens, config),
    )


def _read_backend(path: Path) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer

    file = path / "tokenizer.json"
    if not file.is_file():
        if (path / "tokenizer.model").is_file():
            raise UnsupportedModelError(
                "The model folder has its tokenizer only as tokenizer.model, which isn't read. Make a tokenizer.json "
                "of it with transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
            )
        raise CheckpointError("The model folder has no tokenizer.json.")
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exceptions
        raise CheckpointError(f"tokenizer.json can't be read: {error}") from error


def _read_json(file: Path) -> dict[str, Any]:
    """An empty object where there is no such file: these files are optional."""
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file.name} can't be read: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{file.name} doesn't hold a JSON object.")
    return value


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """Each is given as its text, or as an object with its text under "content"."""
    found = {}
    for name in _NAMES:
        value = config.get(name)
        text = value.get("content") if isinstance(value, Mapping) else value
        if isinstance(text, str) and text:
            found[name] = text
        elif text is not None and text != "":
            raise CheckpointError(f"tokenizer_config.json gives {name} as {str(value)[:80]}; a text was due.")
    return found


def _add_named_tokens(
    backend: tokenizers.Tokenizer, special_tokens: Mapping[str, str], config: Mapping[str, Any]
) -> None:
    """Mark tokens of the vocabulary as special that only the configuration calls so.

    Tokens that aren't in the vocabulary are left out: the model has no embedding for them.
    """
    from tokenizers import AddedToken

    extra = [*config.get("additional_special_tokens", ()), *config.get("extra_special_tokens", ())]
    texts = [value.get("content") if isinstance(value, Mapping) else value for value in extra]
    known = {token.content for token in backend.get_added_tokens_decoder().values() if token.special}
    missing = [
        text
        for text in dict.fromkeys([*special_tokens.values(), *texts])
        if isinstance(text, str) and text not in known and backend.token_to_id(text) is not None
    ]
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in missing])


def _affixes(
    backend: tokenizers.Tokenizer, special_tokens: Mapping[str, str], config: Mapping[str, Any]
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """A configuration that says anything of BOS and EOS overrides the post-processor of tokenizer.json."""
    if config.get("add_bos_token") is None and config.get("add_eos_token") is None:
        return None

    def affix(flag: str, name: str) -> tuple[int, ...]:
        if not config.get(flag) or name not in special_tokens:
            return ()
        token_id = backend.token_to_id(special_tokens[name])
        if token_id is None:
            raise CheckpointError(f"tokenizer_config.json asks for {flag}, but {name} isn't in the vocabulary.")
        return (token_id,)

    return affix("add_bos_token", "bos_token"), affix("add_eos_token", "eos_token")


def _chat_templates(path: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """By name. chat_template.jinja and chat_templates/*.jinja go before tokenizer_config.json, which holds one template
    or a list of named ones."""
    files = {file.stem: file for file in sorted((path / "chat_templates").glob("*.jinja"))}
    if (path / "chat_template.jinja").is_file():
        files["default"] = path / "chat_template.jinja"
    if files:
        return {name: _read_template(file) for name, file in files.items()}
    value = config.get("chat_template")
    if isinstance(value, list):
        value = {entry.get("name"): entry.get("template") for entry in value if isinstance(entry, Mapping)}
    elif isinstance(value, str):
        value = {"default": value}
    elif value is None:
        value = {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise CheckpointError(
            "tokenizer_config.json has a chat_template that is neither a text nor a list of named ones."
        )
    return {name: text for name, text in value.items() if text}


def _read_template(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file.name} can't be read: {error}") from error
