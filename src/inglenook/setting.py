"""One setting: a field of a dataclass of config.py, as flags, variables and the file name, bound and write it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from fractions import Fraction
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from inglenook.errors import ConfigError

PREFIX = "INGLENOOK_"

T = TypeVar("T")

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


@dataclass(frozen=True)
class Setting:
    """One field of a settings dataclass, as the outside names and bounds it."""

    name: str
    kind: type  # bool, int, float, str, tuple for several strings, or a dataclass, written as JSON
    help: str
    default: Any
    choices: tuple[str | int, ...] = ()
    minimum: float = -math.inf
    maximum: float = math.inf
    is_bytes: bool = False
    is_secret: bool = False
    is_repeatable: bool = False  # its flag may be given several times, once for each model
    is_pairs: bool = False  # texts are NAME=VALUE; a table in the file does as well

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()


@cache
def settings_of(settings: type) -> Mapping[str, Setting]:
    """The fields of a settings dataclass by name, in order."""
    hints = get_type_hints(settings)
    return {
        field.name: _setting(field.name, hints[field.name], field.default, dict(field.metadata))
        for field in fields(settings)
    }


def convert(setting: Setting, raw: Any, origin: str) -> Any:
    """`raw` (text, or a value as TOML has it) as the field's type. Raises ConfigError that begins with `origin`."""
    if setting.kind is tuple:
        return _convert_texts(setting, raw, origin)
    if setting.kind is bool:
        return _convert_switch(raw, origin)
    if is_dataclass(setting.kind):
        return _convert_group(setting.kind, raw, origin)
    value: Any
    if setting.kind is str:
        value = _require(raw, str, "text", origin)
        if not value:
            raise ConfigError(f"{origin}: the value is empty; leave it out for the default.")
    elif setting.is_bytes and isinstance(raw, str):
        value = _parse_size(raw, origin)
    elif setting.kind is float:
        value = _parse_number(raw, float, "a number", origin)
    else:
        value = _parse_number(raw, int, "a whole number", origin)
    if setting.choices and value not in setting.choices:
        allowed = ", ".join(map(str, setting.choices))
        raise ConfigError(f"{origin}: {_shown(value)} is not allowed; choose one of {allowed}.")
    if setting.kind is not str and not setting.minimum <= value <= setting.maximum:
        bounds = f"at least {setting.minimum:g}" if setting.maximum == math.inf else f"at most {setting.maximum:g}"
        if math.isfinite(setting.minimum) and math.isfinite(setting.maximum):
            bounds = f"between {setting.minimum:g} and {setting.maximum:g}"
        raise ConfigError(f"{origin}: {value} is out of range; it must be {bounds}.")
    return value


# --- fields ---------------------------------------------------------------------------------------------


def _setting(name: str, hint: Any, default: Any, metadata: dict[str, Any]) -> Setting:
    assert default is not MISSING, f"{name} has no default"
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (arg for arg in get_args(hint) if arg is not type(None))
    if get_origin(hint) is Literal:
        metadata["choices"] = get_args(hint)
        hint = str
    kind = get_origin(hint) or hint
    assert kind in (bool, int, float, str, tuple) or is_dataclass(kind), (
        f"{name} has a type that settings can't have: {hint}"
    )
    return Setting(name=name, kind=kind, default=default, **metadata)


# --- converting -----------------------------------------------------------------------------------------


def _convert_texts(setting: Setting, raw: Any, origin: str) -> tuple[str, ...]:
    if setting.is_pairs and isinstance(raw, Mapping):
        raw = [f"{name}={value}" if isinstance(value, str) else value for name, value in raw.items()]
    parts: Sequence[Any] = [raw] if isinstance(raw, str) else raw
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise ConfigError(f"{origin}: expected text or a list of texts.")
    texts = tuple(part.strip() for part in parts)
    if not all(texts):
        raise ConfigError(f"{origin}: a value is empty; leave it out, or give one that isn't.")
    return texts


def _convert_group(kind: type, raw: Any, origin: str) -> Any:
    """A dataclass of settings from JSON text or a table. Turned off: its `method`, if it has one, is "none"."""
    import json

    table = raw
    if isinstance(raw, kind):
        return raw
    if isinstance(raw, str):
        name = raw.strip().lower()
        try:
            table = None if name in (*_FALSE, "null") else {"method": name} if name.isalpha() else json.loads(raw)
        except ValueError as error:
            raise ConfigError(f"{origin}: {_shown(raw)} is not JSON: {error}.") from error
    if table is None or table is False:
        table = {"method": "none"} if "method" in settings_of(kind) else {}
    known = settings_of(kind)
    if not isinstance(table, Mapping):
        raise ConfigError(f"{origin}: {_shown(raw)} is no JSON object with some of the keys {', '.join(known)}.")
    unknown = [key for key in table if key not in known]
    if unknown:
        raise ConfigError(f"{origin}: unknown key {_shown(unknown[0])}; the keys are {', '.join(known)}.")
    values = {key: convert(known[key], value, f"{origin}: {key}") for key, value in table.items() if value is not None}
    return kind(**values)


def _convert_switch(raw: Any, origin: str) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.strip().lower() in _TRUE + _FALSE:
        return raw.strip().lower() in _TRUE
    raise ConfigError(f"{origin}: {_shown(raw)} is neither true nor false.")


def _parse_size(text: str, origin: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"{origin}: {_shown(text)} is not a size; write bytes, or a suffix as in 512M or 1.5Gi.")
    number, unit, binary = match.groups()
    return int(Fraction(number) * (1024 if binary else 1000) ** _POWERS[unit.upper()])


def _parse_number(raw: Any, kind: type[T], wanted: str, origin: str) -> T:
    is_number = isinstance(raw, (int, float) if kind is float else int) and not isinstance(raw, bool)
    if is_number or isinstance(raw, str):
        try:
            value = kind(raw)  # type: ignore[call-arg]
        except (ValueError, OverflowError):
            pass
        else:
            if math.isfinite(value):  # type: ignore[arg-type]
                return value
    raise ConfigError(f"{origin}: {_shown(raw)} is not {wanted}.")


def _require(raw: Any, kind: type[T], wanted: str, origin: str) -> T:
    if not isinstance(raw, kind):
        raise ConfigError(f"{origin}: {_shown(raw)} is not {wanted}.")
    return raw


def _shown(raw: Any) -> str:
    text = repr(raw)
    return text if len(text) <= 60 else text[:57] + "..."
