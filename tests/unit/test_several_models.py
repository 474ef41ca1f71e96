"""Settings of several models: flags given again, tables of the settings file, and what wins over what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from inglenook.cli.options import SettingsCommand
from inglenook.config import EngineSettings, ModelSettings, ServerSettings
from inglenook.errors import ConfigError
from inglenook.settings import Values, gather

CLASSES = (ModelSettings, EngineSettings, ServerSettings)
FILE = """
port = 81
dtype = "float16"
max_num_seqs = 7

[[models]]
model = "a"
max-model-len = 100

[[models]]
model = "b"
dtype = "float32"
max_num_seqs = 3
kv_cache_memory_bytes = "1Mi"
"""


def write(folder: Path, text: str = FILE) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def parse(*arguments: str) -> Values:
    got: list[Values] = []

    @click.command(cls=SettingsCommand, classes=CLASSES, positional="model", is_repeatable=True)
    def command(settings: Values) -> None:
        got.append(settings)

    command.main(list(arguments), standalone_mode=False)
    return got[0]


def of_each(values: Values, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(each.values.get(name) for name in names) for each in values.of_each_model()]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("INGLENOOK_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("words", "models"),
    [
        ("", [None]),
        ("a", ["a"]),
        ("--model a", ["a"]),
        ("a --model a", ["a"]),
        ("a --model b", ["a", "b"]),
        ("--model a --model b", ["a", "b"]),
        ("--model a b", ["a", "b"]),
        ("--model a b --port 1 -- c", ["c", "a", "b"]),
        ("--model a --model a", ["a", "a"]),
    ],
)
def test_models_of_a_command_line(words: str, models: list[str | None]) -> None:
    assert of_each(parse(*words.split()), "model") == [(model,) for model in models]


def test_flags_are_for_every_model() -> None:
    values = parse("a", "--model", "b", "--max-model-len", "5", "--port", "1")
    assert of_each(values, "model", "max_model_len", "port") == [("a", 5, 1), ("b", 5, 1)]
    assert values.build(ServerSettings).port == 1


def test_a_table_for_each_model(tmp_path: Path) -> None:
    names = ("model", "max_model_len", "dtype", "max_num_seqs", "kv_cache_memory_bytes")
    values = parse("--config", str(write(tmp_path)))
    assert of_each(values, *names) == [("a", 100, "float16", 7, None), ("b", None, "float32", 3, 2**20)]
    assert values.build(ServerSettings).port == 81
    values = parse("--config", str(write(tmp_path)), "--max-num-seqs", "9")
    assert of_each(values, "max_num_seqs") == [(9,), (9,)], "a flag wins over the file"


def test_a_model_that_is_named_takes_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ("--config", str(write(tmp_path)))
    assert of_each(parse("b", *config), "model", "dtype") == [("b", "float32")]
    assert of_each(parse("c", "--model", "a", *config), "model", "max_model_len") == [("c", None), ("a", 100)]
    monkeypatch.setenv("INGLENOOK_MODEL", "b")
    assert of_each(parse(*config), "model", "dtype") == [("b", "float32")]
    monkeypatch.setenv("INGLENOOK_DTYPE", "bfloat16")
    assert of_each(parse(*config), "dtype") == [("bfloat16",)], "a variable wins over the file"


def test_commands_without_a_model_leave_the_tables_alone(tmp_path: Path) -> None:
    values = gather((EngineSettings,), environ={}, config_file=write(tmp_path))
    assert values.values == {"max_num_seqs": 7}
    assert len(values.of_each_model()) == 1


def test_the_first_model_is_that_of_commands_for_one(tmp_path: Path) -> None:
    values = gather((ModelSettings, EngineSettings), environ={}, config_file=write(tmp_path))
    assert (values.build(ModelSettings).model, values.build(EngineSettings).max_num_seqs) == ("a", 7)
    values = gather((ModelSettings, EngineSettings), flags={"model": "b"}, environ={}, config_file=write(tmp_path))
    assert values.build(EngineSettings).max_num_seqs == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('model = "a"\n[[models]]\nmodel = "b"', ["model and [[models]] exclude"]),
        ('[[models]]\nmodel = "b"\n[[models]]\ndtype = "half"', ["[[models]] 2 lacks the key model"]),
        ('[models]\nmodel = "b"', ["begin each with [[models]]"]),
        ("models = 3", ["begin each with [[models]]"]),
        ('[[models]]\nmodel = "b"\nport = 3', ["[[models]] 1: unknown key 'port'"]),
        ('[[models]]\nmodel = "b"\nmax_model_length = 3', ["Did you mean max_model_len"]),
        ('[[models]]\nmodel = "b"\nseed = "x"', ["[[models]] 1: seed", "whole number"]),
    ],
)
def test_mistakes_in_tables(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        gather(CLASSES, environ={}, config_file=write(tmp_path, text))
    assert all(word in caught.value.message for word in words), caught.value.message


@pytest.mark.parametrize("text", ['alias = { "x.y" = "a", z = "b=c" }', '[alias]\n"x.y" = "a"\nz = "b=c"'])
def test_aliases_as_a_table(tmp_path: Path, text: str) -> None:
    values = gather(CLASSES, environ={}, config_file=write(tmp_path, text))
    assert values.build(ServerSettings).alias == ("x.y=a", "z=b=c")


@pytest.mark.parametrize("values", [{"alias": {"a": 3}}, {"alias": {"a": ["b"]}}, {"served_model_name": {"a": "b"}}])
def test_tables_that_are_no_aliases(values: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigError, match="text or a list of texts"):
        gather(CLASSES, environ={}, flags=values)


def test_aliases_of_the_environment() -> None:
    environ = {"INGLENOOK_ALIAS": "x=a, y=b", "INGLENOOK_ANY_MODEL": "1"}
    server = gather(CLASSES, environ=environ).build(ServerSettings)
    assert (server.alias, server.any_model) == (("x=a", "y=b"), True)
