"""From flags, environment variables and a TOML file to the dataclasses of config.py.

Names are generated from the fields: `max_model_len` is the flag --max-model-len, the variable
INGLENOOK_MAX_MODEL_LEN and the key max_model_len (or max-model-len) of the file. A flag wins over a variable, a
variable over the file, the file over the default. Nothing below this module reads the environment.

A server may have several models: one for each time that --model is given, or for each [[models]] table of the file. A
table's keys are those of ModelSettings and EngineSettings, and go before the same keys outside of the tables.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from inglenook.config import EngineSettings, ModelSettings, ServerSettings, StoreSettings
from inglenook.errors import ConfigError
from inglenook.setting import PREFIX, Setting, convert, settings_of

CONFIG_VARIABLE = "INGLENOOK_CONFIG"
ALL_SETTINGS: tuple[type, ...] = (ModelSettings, EngineSettings, ServerSettings, StoreSettings)
OF_A_MODEL: tuple[type, ...] = (ModelSettings, EngineSettings)  # what a table of [[models]] may hold
TABLES = "models"

T = TypeVar("T")


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


def suggestion(unknown: str, known: Iterable[str], prefix: str = "") -> str:
    """' Did you mean ...?' with the nearest known names, or nothing. A `prefix` that all have doesn't count."""
    import difflib

    tails = [name.removeprefix(prefix) for name in known]
    near = difflib.get_close_matches(unknown.removeprefix(prefix), tails, n=2, cutoff=0.6)
    return f" Did you mean {' or '.join(prefix + tail for tail in near)}?" if near else ""


# --- reading --------------------------------------------------------------------------------------------


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
