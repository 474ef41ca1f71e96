"""From flags, environment variables and a TOML file to the dataclasses of config.py.

Names are generated from the fields: `max_model_len` is the flag --max-model-len, the variable
INGLENOOK_MAX_MODEL_LEN and the key max_model_len (or max-model-len) of the file. A flag wins over a variable, a
variable over the file, the file over the default. Nothing below this module reads the environment.

A server may have several models: one for each time that --model is given, or for each [[models]] table of the file. A
table's keys are those of ModelSettings and EngineSettings, and go before the same keys outside of the tables.
"""

from __future__ import annotations

import importlib
import math
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from inglenook.config import EngineSettings, ModelSettings, ServerSettings, StoreSettings
from inglenook.errors import ConfigError

PREFIX = "INGLENOOK_"
CONFIG_VARIABLE = "INGLENOOK_CONFIG"
ALL_SETTINGS: tuple[type, ...] = (ModelSettings, EngineSettings, ServerSettings, StoreSettings)
OF_A_MODEL: tuple[type, ...] = (ModelSettings, EngineSettings)  # what a table of [[models]] may hold
TABLES = "models"

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


@dataclass(frozen=True)
class Values:
    """Converted values by field name, and what should be said about the rest (a variable that nobody reads).

    Where there are several models, `values` are the first one's, and `models` has those of each.
    """

    values: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    models: tuple[Mapping[str, Any], ...] = ()

    def of_each_model(self) -> list[Values]:
        return [Values(values) for values in self.models or (self.values,)]

    def build(self, settings: type[T]) -> T:
        """The dataclass with these values, and its defaults for the others."""
        plain: type = settings  # mypy: a type[T] isn't Hashable, which the cache asks for
        return settings(**{name: self.values[name] for name in settings_of(plain) if name in self.values})


@cache
def settings_of(settings: type) -> Mapping[str, Setting]:
    """The fields of a settings dataclass by name, in order."""
    hints = get_type_hints(settings)
    return {
        field.name: _setting(field.name, hints[field.name], field.default, dict(field.metadata))
        for field in fields(settings)
    }


def gather(
    classes: Iterable[type],
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    config_file: str | Path | None = None,
) -> Values:
    """Collect the values for `classes`. `flags` are by field name, text or converted; None means not given.

    `environ` is the process's own unless given. The file may hold keys of any settings class: one file serves every
    command. Without a model by flag or variable there is one for each of its tables; a model that is named takes the
    tables that are for it. Raises ConfigError, naming the flag, variable or key, for what is unknown or unusable.
    """
    environ = os.environ if environ is None else environ
    wanted = _known(classes)
    known = _known(ALL_SETTINGS) | wanted
    kept: dict[str, Any] = {}
    tables: list[dict[str, Any]] = []
    file = config_file or environ.get(CONFIG_VARIABLE)
    if file:
        kept, tables = _read_file(Path(file).expanduser(), known)
    given: dict[str, Any] = {}
    for name, setting in wanted.items():
        text = environ.get(setting.variable)
        if text or (text is not None and setting.is_secret):
            given[name] = convert(setting, text.split(",") if setting.kind is tuple else text, setting.variable)
    for name, raw in (flags or {}).items():
        if raw is not None and raw != ():
            given[name] = _convert_flag(wanted[name], raw)
    chosen = _choose_tables(tables, given.pop("model", ())) if "model" in wanted else [{}]
    models = [{name: v for name, v in {**kept, **table, **given}.items() if name in wanted} for table in chosen]
    return Values(models[0], _unread(environ, known), tuple(models))


def home_folder(home: str | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """Folder of what this program keeps: `home`, $INGLENOOK_HOME, or inglenook in the user's cache folder.

    The cache folder is the XDG base directory specification's: a relative $XDG_CACHE_HOME is ignored.
    """
    environ = os.environ if environ is None else environ
    chosen = home or environ.get(PREFIX + "HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    cache_home = Path(environ.get("XDG_CACHE_HOME", ""))
    return (cache_home if cache_home.is_absolute() else Path.home() / ".cache") / "inglenook"


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


def suggestion(unknown: str, known: Iterable[str], prefix: str = "") -> str:
    """' Did you mean ...?' with the nearest known names, or nothing. A `prefix` that all have doesn't count."""
    import difflib

    tails = [name.removeprefix(prefix) for name in known]
    near = difflib.get_close_matches(unknown.removeprefix(prefix), tails, n=2, cutoff=0.6)
    return f" Did you mean {' or '.join(prefix + tail for tail in near)}?" if near else ""


# --- reading --------------------------------------------------------------------------------------------


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


def _known(classes: Iterable[type]) -> dict[str, Setting]:
    return {name: setting for settings in classes for name, setting in settings_of(settings).items()}


def _convert_flag(setting: Setting, raw: Any) -> Any:
    if setting.is_repeatable:
        raws = (raw,) if isinstance(raw, str) else raw
        return tuple(convert(setting, one, setting.flag) for one in raws)
    return convert(setting, raw, setting.flag)


def _choose_tables(tables: list[dict[str, Any]], models: str | tuple[str, ...]) -> list[dict[str, Any]]:
    """One for each model: all, or those of the models that are named."""
    if not models:
        return tables or [{}]
    chosen: list[dict[str, Any]] = []
    for model in (models,) if isinstance(models, str) else models:
        chosen += [table for table in tables if table["model"] == model] or [{"model": model}]
    return chosen


def _read_file(path: Path, known: Mapping[str, Setting]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The values, and those of each model's table."""
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        content: dict[str, Any] = toml.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The settings file {path} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigError(f"The settings file {path} is not TOML: {error}.") from error
    raw_tables = content.pop(TABLES, [])
    values = _read_table(content, known, f"{path}")
    if not isinstance(raw_tables, list) or not all(isinstance(table, dict) for table in raw_tables):
        raise ConfigError(f"{path}: {TABLES} is not a list of tables; begin each with [[{TABLES}]].")
    if raw_tables and "model" in values:
        raise ConfigError(f"{path}: model and [[{TABLES}]] exclude each other; give the model a table, too.")
    of_a_model = _known(OF_A_MODEL)
    tables = [_read_table(raw, of_a_model, f"{path}: [[{TABLES}]] {i}") for i, raw in enumerate(raw_tables, 1)]
    for i, table in enumerate(tables, 1):
        if "model" not in table:
            raise ConfigError(f"{path}: [[{TABLES}]] {i} lacks the key model.")
    return values, tables


def _read_table(table: Mapping[str, Any], known: Mapping[str, Setting], origin: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, raw in table.items():
        name = key.replace("-", "_")
        if name not in known:
            raise ConfigError(f"{origin}: unknown key {key!r}.{suggestion(name, known)}")
        if name in values:
            raise ConfigError(f"{origin}: {name} is given twice, with hyphens and with underscores.")
        values[name] = convert(known[name], raw, f"{origin}: {key}")
    return values


def _unread(environ: Mapping[str, str], known: Mapping[str, Setting]) -> tuple[str, ...]:
    """Warnings for variables with our prefix that nothing reads: most often a slip of the pen."""
    read = {setting.variable for setting in known.values()} | {CONFIG_VARIABLE}
    return tuple(
        f"The environment variable {variable} is not known and was ignored.{suggestion(variable, read, PREFIX)}"
        for variable in sorted(environ)
        if variable.startswith(PREFIX) and variable not in read and not variable.startswith(PREFIX + "TEST_")
    )


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
