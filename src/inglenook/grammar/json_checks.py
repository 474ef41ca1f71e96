"""What one schema says, looked at by itself: right in form, and nothing in it that the grammar wouldn't enforce."""

from __future__ import annotations

from typing import Any

from inglenook.grammar.json_formats import ANNOTATING_FORMATS, FORMAT_PATTERNS, FORMATS
from inglenook.grammar.json_keywords import ENFORCED, LEFT_OUT, REFUSED, TYPES, is_right
from inglenook.grammar.patterns import MAX_WRITTEN_OUT, PatternError, rust_pattern, written_out

MAX_REPEATS = 20_000  # all counts of items and properties together
MAX_LENGTH = 100_000  # of strings
MAX_EXACT = 2**53 - 1  # what every JSON reader holds exactly
MAX_MULTIPLE = 1_000  # an automaton has as many states

_ESCAPABLE = "\b\t\n\f\r"


class SchemaError(Exception):
    """What of a schema can't be enforced, and where."""


class SchemaChecks:
    """Of the parts of one schema, which together may have only so many repetitions."""

    def __init__(self) -> None:
        self._num_repeats = 0

    def check(self, schema: dict[str, Any], path: str) -> None:
        """Change it in place to what the grammar takes. Raises SchemaError."""
        _modernise(schema)
        _refuse(schema, path)
        for keyword, kind in ENFORCED.items():
            if keyword in schema and not is_right(kind, schema[keyword]):
                raise SchemaError(f"'{keyword}' at {path} can't be {kind_of(schema[keyword])} like this")
            if keyword in schema and kind == "count":
                schema[keyword] = int(schema[keyword])
        self._check_counts(schema, path)
        _check_numbers(schema, path)
        _check_strings(schema, path)
        for value in (*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())):
            _check_value(value, path)

    def _check_counts(self, schema: dict[str, Any], path: str) -> None:
        # A list of up to n items is written out n times.
        counts = [schema.get(f"m{end}{kind}", 0) for end in ("in", "ax") for kind in ("Items", "Properties")]
        self._num_repeats += sum(counts)
        if self._num_repeats > MAX_REPEATS:
            raise SchemaError(f"numbers of items and properties add up to more than {MAX_REPEATS} at {path}")
        for keyword in ("minLength", "maxLength"):
            if schema.get(keyword, 0) > MAX_LENGTH:
                raise SchemaError(f"'{keyword}' at {path} is larger than {MAX_LENGTH}")
        # Only the keys in `properties` are held to come once: any number of others may be one and the same.
        num_sure = len(set(schema.get("required", ()))) + 1
        if schema.get("minProperties", 0) > num_sure:
            raise unsupported("minProperties", path, f" above {num_sure}, one more than 'required' names,")


def unsupported(keyword: str, path: str, what: str = "", instead: str = "leave it out") -> SchemaError:
    return SchemaError(f"'{keyword}'{what} at {path} isn't supported; {instead}")


def kind_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _modernise(schema: dict[str, Any]) -> None:
    """Older drafts' ways of saying the same."""
    if isinstance(schema.get("items"), list):
        schema["prefixItems"] = schema.pop("items")
        if "additionalItems" in schema:
            schema["items"] = schema["additionalItems"]
    for inclusive, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(exclusive), bool) and schema.pop(exclusive) and inclusive in schema:
            schema[exclusive] = schema.pop(inclusive)


def _refuse(schema: dict[str, Any], path: str) -> None:
    for keyword in REFUSED.keys() & schema.keys():
        value = schema.pop(keyword)
        if not any(value is harmless or value == harmless == {} for harmless in REFUSED[keyword]):
            raise unsupported(keyword, path)
    if "$id" in schema:
        raise unsupported("$id", path, " below the root")
    for keyword in LEFT_OUT & schema.keys():
        del schema[keyword]


def _check_numbers(schema: dict[str, Any], path: str) -> None:
    for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        if keyword in schema:
            schema[keyword] = max(-MAX_EXACT, min(MAX_EXACT, schema[keyword]))
    if "multipleOf" in schema:
        digits = f"{float(schema['multipleOf']):.15f}".rstrip("0").replace(".", "").lstrip("0")
        if schema["multipleOf"] <= 0 or not digits or int(digits) > MAX_MULTIPLE:
            raise unsupported("multipleOf", path, f" of more than {MAX_MULTIPLE} (without its point)")


def _check_strings(schema: dict[str, Any], path: str) -> None:
    if "pattern" in schema:
        schema["pattern"] = _pattern(schema["pattern"], f"{path}/pattern")
    if "patternProperties" in schema:
        place = f"{path}/patternProperties"
        named = {_pattern(key, place): inner for key, inner in schema["patternProperties"].items()}
        schema["patternProperties"] = named
    if "format" not in schema:
        return
    types = schema.get("type", TYPES)
    name = schema["format"]
    if name in ANNOTATING_FORMATS or "string" not in ([types] if isinstance(types, str) else types):
        del schema["format"]
    elif name not in FORMATS:
        supported = f"there are {', '.join(sorted(FORMATS))}"
        raise unsupported("format", path, f" {name[:50]!r}", supported)
    elif name in FORMAT_PATTERNS:
        del schema["format"]
        if "pattern" in schema:
            schema.setdefault("allOf", []).append({"pattern": FORMAT_PATTERNS[name]})
        else:
            schema["pattern"] = FORMAT_PATTERNS[name]


def _pattern(pattern: str, place: str) -> str:
    try:
        rust = rust_pattern(pattern)
    except PatternError as error:
        raise SchemaError(f"the regular expression at {place} has {error}") from error
    if written_out(pattern) > MAX_WRITTEN_OUT:
        raise SchemaError(f"the regular expression at {place} repeats too much")
    return rust


def _check_value(value: Any, path: str) -> None:
    """A value that the answer must hold exactly."""
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            _check_value(inner, path)
    elif isinstance(value, str):
        if any(_is_unwritable(char) for char in value):
            raise SchemaError(f"a value at {path} has a control character, which an answer can't hold")
    elif isinstance(value, (int, float)) and abs(value) > MAX_EXACT:
        raise SchemaError(f"a number at {path} is beyond 2^53, more than JSON readers hold exactly")


def _is_unwritable(char: str) -> bool:
    return (char < " " and char not in _ESCAPABLE) or char == "\x7f" or "\ud800" <= char < "\ue000"
