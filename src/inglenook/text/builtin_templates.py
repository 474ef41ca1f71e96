"""Which chat template --chat-template asks for: a file, one of the model's own by name, one of ours, or Jinja itself.

Ours are for old and base models, whose files have none; names and formats are FastChat's (fastchat/conversation.py).
They leave out the BOS at the beginning: it comes from the tokenizer, where that has the habit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inglenook.errors import ConfigError

# Other names of the same formats.
_ALIASES = {
    "vicuna": "vicuna_v1.1",
    "llama2": "llama-2",
    "codellama": "llama-2",
    "llama3": "llama-3",
    "mixtral": "mistral",
    "tinyllama": "zephyr",
    "catppt": "zephyr",
    "qwen-7b-chat": "qwen",
    "qwen2": "qwen",
    "yi-34b-chat": "chatml",
    "orca-2": "chatml",
    "internlm2": "chatml",
    "deepseek": "deepseek-chat",
    "openchat": "openchat_3.5",
    "starling": "openchat_3.5",
    "phi3": "phi-3",
    "phi-3.5": "phi-3",
    "phi4": "phi-4",
    "oasst_llama": "oasst_pythia",
    "baichuan": "baichuan-chat",
    "baichuan2": "baichuan2-chat",
    "internlm": "internlm-chat",
    "stablelm-zephyr": "zephyr",
}
_FOLDER = Path(__file__).parent / "templates"
_STOP = re.compile(r"^\{#-? stop: (.+?) -?#\}$", re.MULTILINE)


@dataclass(frozen=True)
class NamedTemplate:
    """`stop` ends an answer where the format has no token for it. `adds_bos`: see this module."""

    source: str
    stop: tuple[str, ...] = ()
    adds_bos: bool = False


def builtin_names() -> list[str]:
    """Without aliases."""
    return sorted(file.stem for file in _FOLDER.glob("*.jinja"))


def builtin_template(name: str) -> NamedTemplate | None:
    """Case and the kind of dash don't matter."""
    files = {_key(known): known for known in builtin_names()}
    files |= {_key(alias): known for alias, known in _ALIASES.items()}
    known = files.get(_key(name))
    if known is None:
        return None
    source = (_FOLDER / f"{known}.jinja").read_text(encoding="utf-8")
    stop = tuple(text.replace("\\n", "\n") for text in _STOP.findall(source))
    return NamedTemplate(source, stop, adds_bos=True)


def choose_template(choice: str, own: Mapping[str, str]) -> NamedTemplate:
    """What --chat-template `choice` means; `own` are the model's templates by name.

    Raises ConfigError where there is no such file or name, listing the names that there are.
    """
    if "{{" in choice or "{%" in choice:
        return NamedTemplate(choice)
    try:
        if Path(choice).is_file():
            return NamedTemplate(Path(choice).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The chat template {choice} can't be read: {error}.", param="chat_template") from error
    if choice in own:
        return NamedTemplate(own[choice])
    builtin = builtin_template(choice)
    if builtin is not None:
        return builtin
    of_model = f" The model has {', '.join(sorted(own))}." if own else ""
    raise ConfigError(
        f"The chat template {choice!r} is neither a file nor a name that is known.{of_model} "
        f"Built in are {', '.join(builtin_names())}.",
        param="chat_template",
    )


def _key(name: str) -> str:
    return name.lower().replace("_", "-")
