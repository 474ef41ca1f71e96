"""Strict, typed reading of a model's config: what is missing, of a wrong type or unknown stops the load by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from numbers import Integral, Real
from typing import Any

from inglenook.errors import UnsupportedModelError

_REQUIRED: Any = object()
LARGEST_SIZE = 2**31 - 1
LARGEST_NUMBER = 1e30  # and its inverse the smallest: powers and quotients of such stay finite in double
LARGEST_NUM_LAYERS = 4096  # a broken file must not make us record for hours


class ConfigReader:
    """Reads keys of `values` and remembers which. A null value is an absent one.

    `source` is how messages call the file; `prefix` stands before every key ("llama.", "rope_parameters.").
    Every method raises UnsupportedModelError.
    """

    def __init__(self, values: Mapping[str, Any], source: str, prefix: str = "") -> None:
        self.values = values
        self.source = source
        self.prefix = prefix
        self.read: set[str] = set()

    def integer(self, key: str, default: int = _REQUIRED, *, low: int = 1, high: int = LARGEST_SIZE) -> int:
        """An int in [low, high]; `default` where the key is absent."""
        return self._checked_integer(key, self._get(key, default), low, high)

    def optional_integer(self, key: str, *, low: int = 1) -> int | None:
        value = self._get(key, None)
        return None if value is None else self._checked_integer(key, value, low, LARGEST_SIZE)

    def number(self, key: str, default: float = _REQUIRED) -> float:
        """A float above zero, within reason; `default` where the key is absent."""
        return self._checked_number(key, self._get(key, default))

    def optional_number(self, key: str) -> float | None:
        value = self._get(key, None)
        return None if value is None else self._checked_number(key, value)

    def flag(self, key: str, default: bool) -> bool:
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.unsupported(key, "true or false")
        return value

    def choice(self, key: str, allowed: Collection[str], default: str = _REQUIRED) -> str:
        value = self._get(key, default)
        if not isinstance(value, str) or value not in allowed:
            raise self.unsupported(key, " or ".join(sorted(allowed)))
        return value

    def token_ids(self, key: str) -> tuple[int, ...]:
        """One token id, a list of them, or none."""
        value = self._get(key, ())
        ids = value if isinstance(value, list | tuple) else (value,)
        if not all(isinstance(i, Integral) and not isinstance(i, bool) and 0 <= int(i) <= LARGEST_SIZE for i in ids):
            raise self.unsupported(key, "a token id or a list of token ids")
        return tuple(int(i) for i in ids)

    def section(self, key: str) -> ConfigReader | None:
        """The mapping under `key`, or None where there is none."""
        value = self._get(key, None)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.unsupported(key, "an object")
        return ConfigReader(value, self.source, f"{self.prefix}{key}.")

    def refuse_unread(self, ignored: Collection[str], ignored_prefixes: tuple[str, ...] = ()) -> None:
        """Stop at a key that was neither read nor is known to change nothing; one that is off or empty passes."""
        for key, value in self.values.items():
            is_known = key in self.read or key in ignored or key.startswith(ignored_prefixes)
            is_off = value is None or value is False or (isinstance(value, str | list | dict) and not value)
            if not is_known and not is_off:
                raise UnsupportedModelError(
                    f"{self.source} has the key {self.prefix + key!r}, which this version doesn't know: the model "
                    "could give wrong answers without it. Remove the key if it doesn't change what the model computes.",
                    param=self.prefix + key,
                )

    def unsupported(self, key: str, allowed: str) -> UnsupportedModelError:
        name = self.prefix + key
        value = repr(self.values.get(key))
        value = value if len(value) <= 60 else f"{value[:57]}..."
        return UnsupportedModelError(f"{self.source}: {name} is {value}; it must be {allowed}.", param=name)

    def _checked_integer(self, key: str, value: Any, low: int, high: int) -> int:
        if not isinstance(value, Integral) or isinstance(value, bool) or not low <= int(value) <= high:
            raise self.unsupported(key, f"a whole number from {low} to {high}")
        return int(value)

    def _checked_number(self, key: str, value: Any) -> float:
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if not is_number or not 1 / LARGEST_NUMBER <= value <= LARGEST_NUMBER:
            raise self.unsupported(key, f"a number from {1 / LARGEST_NUMBER:g} to {LARGEST_NUMBER:g}")
        return float(value)

    def _get(self, key: str, default: Any) -> Any:
        self.read.add(key)
        value = self.values.get(key)
        if value is not None:
            return value
        if default is _REQUIRED:
            name = self.prefix + key
            raise UnsupportedModelError(f"{self.source} lacks the key {name!r}, which the model needs.", param=name)
        return default
