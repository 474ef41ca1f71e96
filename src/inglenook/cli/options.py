"""Command-line options from the settings dataclasses: flags are never listed by hand.

click rather than typer: typer's current release loads pydantic to read a flag (0.1 s of our start) and shortens long
flags in its help.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from inglenook.setting import Setting, settings_of
from inglenook.settings import gather

_NAMES = {int: "NUMBER", float: "NUMBER", str: "TEXT", tuple: "TEXT"}
_EPILOG = (
    "Each option can also be set as an environment variable (--max-model-len as INGLENOOK_MAX_MODEL_LEN) "
    "or in the TOML file that --config names (max_model_len = 4096). A flag wins over a variable, a variable over "
    "the file."
)


class SettingsCommand(click.Command):
    """A command whose options are the fields of `classes`; its function gets them gathered, as `settings`.

    `positional` names the setting that may also be given without its flag. With `is_repeatable` flags may be given
    several times whose settings allow it.
    """

    def __init__(
        self,
        *args: Any,
        classes: Sequence[type],
        positional: str | None = None,
        is_repeatable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings.setdefault("help_option_names", ["-h", "--help"])
        self.epilog = _EPILOG
        self.classes = classes
        self.positional = positional
        self.is_repeatable = is_repeatable
        self.sections: dict[str, list[click.Option]] = {}
        for settings in classes:
            options = [_option(setting, self._is_several(setting)) for setting in settings_of(settings).values()]
            self.sections[settings.__name__.removesuffix("Settings") + " options"] = options
            self.params += options
        self.params.append(click.Option(["--config"], metavar="FILE", help="TOML file with settings."))
        if positional is not None:
            self.params.insert(0, click.Argument(["positional"], required=False, metavar=f"[{positional.upper()}]"))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_repeat_flags(args, self._several())))

    def invoke(self, ctx: click.Context) -> Any:
        flags = {name: ctx.params.pop(name) for settings in self.classes for name in settings_of(settings)}
        if self.positional is not None and (value := ctx.params.pop("positional")) is not None:
            flags[self.positional] = self._with_positional(ctx, value, flags[self.positional])
        ctx.params["settings"] = gather(self.classes, flags=flags, config_file=ctx.params.pop("config"))
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options under the name of the settings class that they belong to, the others at the end."""
        ours = {id(option) for options in self.sections.values() for option in options}
        others = [p for p in self.get_params(ctx) if isinstance(p, click.Option) and id(p) not in ours]
        for title, params in {**self.sections, "Other options": others}.items():
            records = [record for param in params if (record := param.get_help_record(ctx)) is not None]
            with formatter.section(title):
                formatter.write_dl(records)

    def _with_positional(self, ctx: click.Context, value: str, flag: Any) -> Any:
        if isinstance(flag, tuple):
            return flag if value in flag else (value, *flag)
        if flag not in (None, value):
            raise click.UsageError(f"{value!r} and --{self.positional} {flag!r} contradict each other.", ctx)
        return value

    def _several(self) -> frozenset[str]:
        """Flags that take all words up to the next flag. Not secrets: a word too many would become a key."""
        settings = (setting for cls in self.classes for setting in settings_of(cls).values())
        return frozenset(setting.flag for setting in settings if self._is_several(setting) and not setting.is_secret)

    def _is_several(self, setting: Setting) -> bool:
        return setting.kind is tuple or (self.is_repeatable and setting.is_repeatable)


def _repeat_flags(args: Sequence[str], several: frozenset[str]) -> Iterator[str]:
    """`--name a b` as `--name a --name b`, which is what click understands."""
    current, has_value = None, False
    for i, word in enumerate(args):
        if word == "--":
            yield from args[i:]
            return
        if word.startswith("-"):
            current, has_value = (word, False) if word in several else (None, False)
        elif current is not None:
            if has_value:
                yield current
            has_value = True
        yield word


def _option(setting: Setting, is_several: bool) -> click.Option:
    help = setting.help
    if setting.kind is bool:
        default = "on" if setting.default else "off"
        flag = setting.flag.removeprefix("--")
        return click.Option([f"--{flag}/--no-{flag}"], default=None, help=f"{help}  [default: {default}]")
    if setting.default not in (None, ()):
        help += f"  [default: {setting.default:g}]" if setting.kind is float else f"  [default: {setting.default}]"
    kwargs: Mapping[str, Any] = {"multiple": True} if is_several else {"default": None}
    return click.Option([setting.flag], metavar=_metavar(setting), help=help, type=str, **kwargs)


def _metavar(setting: Setting) -> str:
    if setting.choices:
        return f"[{'|'.join(map(str, setting.choices))}]"
    if setting.is_bytes:
        return "SIZE"
    return _NAMES.get(setting.kind, "JSON") + (" ..." if setting.kind is tuple and not setting.is_secret else "")
