"""Precedence, conversion and messages of the generated settings."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.config import (
    EngineSettings,
    ModelSettings,
    RepetitionSettings,
    ServerSettings,
    SpeculativeSettings,
    StoreSettings,
    num_usable_cores,
    resolve,
)
from inglenook.errors import ConfigError
from inglenook.setting import settings_of
from inglenook.settings import ALL_SETTINGS, gather, home_folder


def build(settings: type, **kwargs: Any) -> Any:
    kwargs.setdefault("environ", {})
    return gather((settings,), **kwargs).build(settings)


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_nothing_given_is_the_defaults() -> None:
    for settings in ALL_SETTINGS:
        assert build(settings) == settings()


def test_names_are_unique_and_every_field_has_help() -> None:
    names = [field.name for settings in ALL_SETTINGS for field in fields(settings)]
    assert len(names) == len(set(names))
    assert all(setting.help.endswith(".") for settings in ALL_SETTINGS for setting in settings_of(settings).values())


def test_names_of_one_setting() -> None:
    setting = settings_of(ModelSettings)["max_model_len"]
    assert (setting.flag, setting.variable) == ("--max-model-len", "INGLENOOK_MAX_MODEL_LEN")
    assert setting.kind is int
    assert settings_of(ModelSettings)["quantization"].choices == ("q8", "q4")


@given(
    flag=st.none() | st.integers(1, 9),
    variable=st.none() | st.integers(11, 19),
    key=st.none() | st.integers(21, 29),
)
def test_flag_over_variable_over_file_over_default(
    tmp_path_factory: pytest.TempPathFactory, flag: int | None, variable: int | None, key: int | None
) -> None:
    file = write(tmp_path_factory.mktemp("f"), f"max-num-seqs = {key}" if key else "")
    actual = build(
        EngineSettings,
        flags={"max_num_seqs": str(flag) if flag else None},
        environ={"INGLENOOK_MAX_NUM_SEQS": str(variable)} if variable else {},
        config_file=file,
    )
    assert actual.max_num_seqs == (flag or variable or key or EngineSettings().max_num_seqs)


@given(st.data())
def test_every_value_survives_every_way_in(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    setting = data.draw(st.sampled_from([s for c in ALL_SETTINGS for s in settings_of(c).values()]))
    text = st.text("abcXYZ019-_.:/", min_size=1, max_size=12)
    value: Any
    if setting.choices:
        value = data.draw(st.sampled_from(setting.choices))
    elif setting.kind is bool:
        value = data.draw(st.booleans())
    elif setting.kind is int:
        low, high = max(setting.minimum, -(2**40)), min(setting.maximum, 2**40)
        value = data.draw(st.integers(int(low), int(high)))
    elif setting.kind is float:
        value = data.draw(st.floats(max(0, setting.minimum), min(1e9, setting.maximum)))
    elif setting.kind is SpeculativeSettings:
        value = SpeculativeSettings("ngram", num_speculative_tokens=data.draw(st.integers(1, 63)))
    elif setting.kind is RepetitionSettings:
        value = RepetitionSettings(data.draw(st.integers(1, 50)), 0, data.draw(st.integers(2, 9)))
    elif setting.kind is tuple:
        value = tuple(data.draw(st.lists(text, min_size=1, max_size=3)))
    else:
        value = data.draw(text)
    as_text = ",".join(value) if isinstance(value, tuple) else str(value)
    as_toml = (
        str(list(value))
        if isinstance(value, tuple)
        else repr(as_text)
        if isinstance(value, SpeculativeSettings | RepetitionSettings)
        else repr(value)
        if not isinstance(value, bool)
        else as_text.lower()
    )
    owner = next(c for c in ALL_SETTINGS if setting.name in settings_of(c))
    file = write(tmp_path_factory.mktemp("f"), f"{setting.name} = {as_toml}")
    flag = value if isinstance(value, tuple) else as_text
    for given_as in (
        {"flags": {setting.name: flag}},
        {"environ": {setting.variable: as_text}},
        {"config_file": file},
        {"environ": {"INGLENOOK_CONFIG": str(file)}},
    ):
        assert getattr(build(owner, **given_as), setting.name) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.5G", 1_500_000_000),
        ("1.5Gi", 3 * 2**29),
        ("512MiB", 2**29),
        ("2k", 2000),
        ("4096", 4096),
        ("1T", 10**12),
        (" 7 Ki ", 7168),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert build(EngineSettings, flags={"kv_cache_memory_bytes": text}).kv_cache_memory_bytes == expected


@pytest.mark.parametrize(
    ("settings", "name", "raw", "words"),
    [
        (ServerSettings, "port", "eighty", ["--port", "'eighty'", "whole number"]),
        (ServerSettings, "port", "65536", ["65536", "between 0 and 65535"]),
        (ServerSettings, "port", "-1", ["-1", "between"]),
        (EngineSettings, "threads", "0", ["--threads", "at least 1"]),
        (EngineSettings, "block_size", "24", ["24", "16, 32"]),
        (EngineSettings, "kv_cache_memory_bytes", "1.5Q", ["'1.5Q'", "512M"]),
        (EngineSettings, "kv_cache_memory_bytes", "-1", ["'-1'", "size"]),
        (EngineSettings, "enable_prefix_caching", "maybe", ["'maybe'", "neither true nor false"]),
        (ModelSettings, "quantization", "q5", ["--quantization", "'q5'", "q8, q4"]),
        (ModelSettings, "model", "", ["--model", "empty"]),
        (ModelSettings, "seed", "1e3", ["'1e3'", "whole number"]),
        (ServerSettings, "shutdown_grace_s", "nan", ["'nan'", "number"]),
        (ServerSettings, "shutdown_grace_s", "-1", ["at least 0"]),
        (ServerSettings, "api_key", ("",), ["--api-key", "empty"]),
    ],
)
def test_unusable_values_say_what_is_allowed(settings: type, name: str, raw: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        build(settings, flags={name: raw})
    assert all(word in caught.value.message for word in words), caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_model_length = 5", ["max_model_length", "Did you mean max_model_len"]),
        ("port = '80'\nport = 3", ["not TOML"]),
        ("port = true", ["port", "True", "whole number"]),
        ("model = 5", ["model", "5", "text"]),
        ("api_key = [1]", ["api_key", "list of texts"]),
        ("max_num_seqs = 1\nmax-num-seqs = 2", ["twice"]),
        ("[server]\nport = 3", ["unknown key 'server'"]),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        build(ServerSettings, config_file=write(tmp_path, text))
    assert all(word in caught.value.message for word in words), caught.value.message


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        build(ServerSettings, config_file=tmp_path / "none.toml")


def test_a_file_may_hold_the_keys_of_other_commands(tmp_path: Path) -> None:
    file = write(tmp_path, "port = 81\nmodel = 'a'\nkv_cache_memory_bytes = '1Ki'\nshutdown_grace_s = 2")
    gathered = gather((ServerSettings,), environ={}, config_file=file)
    assert gathered.values == {"port": 81, "shutdown_grace_s": 2.0}


def test_an_empty_variable_is_not_given_but_an_empty_key_is_an_error() -> None:
    assert build(ServerSettings, environ={"INGLENOOK_PORT": ""}).port == ServerSettings().port
    with pytest.raises(ConfigError, match="INGLENOOK_API_KEY"):
        build(ServerSettings, environ={"INGLENOOK_API_KEY": ""})


def test_a_secret_is_not_repeated_in_the_message() -> None:
    with pytest.raises(ConfigError) as caught:
        build(ServerSettings, environ={"INGLENOOK_API_KEY": "hush,,more"})
    assert "hush" not in caught.value.message


def test_commas_split_only_variables(tmp_path: Path) -> None:
    assert build(ModelSettings, environ={"INGLENOOK_SERVED_MODEL_NAME": "a, b"}).served_model_name == ("a", "b")
    assert build(ModelSettings, flags={"served_model_name": ("a,b",)}).served_model_name == ("a,b",)
    file = write(tmp_path, "served_model_name = 'a,b'")
    assert build(ModelSettings, config_file=file).served_model_name == ("a,b",)


def test_an_unread_variable_is_warned_of() -> None:
    gathered = gather((ServerSettings,), environ={"INGLENOOK_PROT": "1", "INGLENOOK_THREADS": "2", "OTHER": "3"})
    assert len(gathered.warnings) == 1
    assert "INGLENOOK_PROT" in gathered.warnings[0]
    assert "Did you mean INGLENOOK_PORT" in gathered.warnings[0]


def test_home_folder(tmp_path: Path) -> None:
    assert home_folder(str(tmp_path), {"INGLENOOK_HOME": "/elsewhere"}) == tmp_path
    assert home_folder(None, {"INGLENOOK_HOME": str(tmp_path)}) == tmp_path
    assert home_folder(None, {"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "inglenook"
    default = Path.home() / ".cache" / "inglenook"
    assert home_folder(None, {}) == home_folder(None, {"XDG_CACHE_HOME": "relative"}) == default
    assert build(StoreSettings, environ={"INGLENOOK_HOME": "x"}).home == "x"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/a/b", {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, 1),
        ("0::/not/here", {"cpu.max": "100000 100000"}, 1),
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/", {"cpu.max": "90000000 100000"}, None),
        ("0::/a", {"a/cpu.max": "nonsense"}, None),
        ("4:memory:/x\n1:cpu,cpuacct:/x", {"cpu/x/cpu.cfs_quota_us": "1000", "cpu/x/cpu.cfs_period_us": "1000"}, 1),
        ("1:cpu:/x", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "1000"}, None),
    ],
)
def test_cpu_quota(tmp_path: Path, groups: str, files: dict[str, str], expected: int | None) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups + "\n")
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    unlimited = num_usable_cores(tmp_path / "nothing")
    assert unlimited >= 1
    assert num_usable_cores(tmp_path) == (expected or unlimited)


def test_resolve_makes_threads_concrete() -> None:
    assert resolve(EngineSettings(threads=3)).threads == 3
    assert resolve(EngineSettings()).threads == num_usable_cores()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("off", SpeculativeSettings("none")),
        ("null", SpeculativeSettings("none")),
        (False, SpeculativeSettings("none")),
        ('{"method": "ngram", "prompt_lookup_max": 4}', SpeculativeSettings("ngram", prompt_lookup_max=4)),
        ({"model": "dummy:tiny"}, SpeculativeSettings("draft_model", "dummy:tiny")),
        ("{}", SpeculativeSettings("ngram")),
        ("ngram", SpeculativeSettings("ngram")),
        (str(SpeculativeSettings()), SpeculativeSettings("ngram")),
        (str(SpeculativeSettings("none", prompt_lookup_max=9)), SpeculativeSettings("none", prompt_lookup_max=9)),
    ],
)
def test_speculative_config(raw: Any, expected: SpeculativeSettings) -> None:
    settings = build(EngineSettings, flags={"speculative_config": raw})
    assert resolve(settings).speculative_config == expected


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("{ngram}", "not JSON"),
        ("[1]", "no JSON object"),
        ('{"draft": 1}', "'draft'; the keys are method, model, num_speculative_tokens, prompt_lookup_max"),
        ('{"method": "eagle"}', "ngram, draft_model, none"),
        ('{"num_speculative_tokens": 0}', "between 1 and 63"),
        ('{"method": "draft_model"}', 'add "model"'),
        ('{"method": "ngram", "model": "dummy:1b"}', 'leave out "model"'),
        ('{"prompt_lookup_min": 20}', "above prompt_lookup_max"),
    ],
)
def test_speculative_config_that_cannot_be(raw: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        resolve(build(EngineSettings, flags={"speculative_config": raw}))
