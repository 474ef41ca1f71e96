"""What an answer must look like, in all the ways in which clients say it -> Constraint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from inglenook.dialects.json_fields import Fields, expected
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import Constraint


def parse_constraint(fields: Fields) -> Constraint | None:
    """The one constraint that a request has. Two of them contradict: InvalidRequestError, as for a malformed one."""
    found = [_response_format(fields), *_structured_outputs(fields)]
    found += [read(fields, name) for name, read in _TOP_LEVEL.items()]
    given = [constraint for constraint in found if constraint is not None]
    if len(given) > 1:
        names = ", ".join(constraint.param for constraint in given)
        raise InvalidRequestError(
            f"Several constraints were given ({names}); an answer can follow one.", param=given[1].param
        )
    return given[0] if given else None


def parse_grammar_or_schema(fields: Fields) -> Constraint | None:
    """llama.cpp's own two fields, of which the grammar counts where both are given; {} is any JSON."""
    grammar = _grammar(fields, "grammar")
    schema = fields.get("json_schema")
    if grammar is not None or schema is None or schema == "":
        return grammar
    return Constraint("json_schema", read_schema("json_schema", schema), "json_schema")


def parse_repair(fields: Fields) -> dict[str, Any]:
    """Our own fields: mend what the model writes, knowing the keys that it should have."""
    keys = fields.strings("repair_keys")
    return {"is_repaired": fields.boolean("repair", True if keys else None), "repair_keys": keys}


# --- response_format ------------------------------------------------------------------------------


def _response_format(fields: Fields) -> Constraint | None:
    value = fields.get("response_format")
    if value is None or value == {}:
        return None
    if not isinstance(value, dict):
        raise expected("response_format", "an object with a type", value)
    where = "response_format"
    given = fields.inside(where)
    given.skip("value", "schema", "json_schema", "name", "strict")  # of some types
    kind = given.string("type", "")
    if kind == "text":
        return None
    if given.get("value") is not None:
        return tgi_grammar(given)
    if kind == "json_schema":
        return _json_schema_format(given)
    if kind == "json_object":  # llama.cpp and others take a schema here
        schema = given.get("schema")
        if schema is None:
            return Constraint("json_object", None, where)
        return Constraint("json_schema", read_schema(f"{where}.schema", schema), f"{where}.schema")
    if kind == "structural_tag":
        given.skip(*value)
        return Constraint("structural_tag", value, where)
    raise InvalidRequestError(
        f"{where}.type is {kind[:40]!r}; it must be text, json_object, json_schema or structural_tag.",
        param=f"{where}.type",
    )


def _json_schema_format(given: Fields) -> Constraint:
    """{"type": "json_schema", "json_schema": {"name", "schema", "strict"}}, or llama.cpp's with the schema beside type.

    The schema is kept to whether strict or not: an answer that nearly follows it is of no use.
    """
    wrapper = given.get("json_schema")
    if wrapper is None and given.get("schema") is not None:
        where = given.name("schema")
        return Constraint("json_schema", read_schema(where, given.get("schema")), where)
    where = given.name("json_schema")
    if wrapper is None:
        raise InvalidRequestError(f"{where} is missing.", param=where)
    if not isinstance(wrapper, dict):
        raise expected(where, "an object with a schema", wrapper)
    inner = given.inside("json_schema")
    inner.skip("description")  # for the model, which the schema tells enough
    inner.string("name", "")
    inner.boolean("strict", False)
    schema = inner.get("schema")
    if schema is None:
        raise InvalidRequestError(f"{where}.schema is missing.", param=f"{where}.schema")
    return Constraint("json_schema", read_schema(f"{where}.schema", schema), f"{where}.schema")


def tgi_grammar(given: Fields) -> Constraint:
    """{"type", "value"}: a grammar of Text Generation Inference, which its clients send as response_format too."""
    kind, value, where = given.string("type", ""), given.get("value"), given.name("value")
    if value is None:
        raise InvalidRequestError(f"{where} is missing.", param=where)
    if kind == "regex":
        return Constraint("regex", given.string("value", ""), where)
    if kind not in ("json", "json_object", "json_schema"):
        name = given.name("type")
        raise InvalidRequestError(f"{name} is {kind[:40]!r}; it must be json, regex or json_schema.", param=name)
    if kind == "json_schema" and isinstance(value, dict) and "schema" in value:  # {"name", "schema"}
        value, where = value["schema"], f"{where}.schema"
    return Constraint("json_schema", read_schema(where, value), where)


# --- structured_outputs ---------------------------------------------------------------------------


def _structured_outputs(fields: Fields) -> list[Constraint | None]:
    value = fields.get("structured_outputs")
    if value is None:
        return []
    if not isinstance(value, dict):
        raise expected("structured_outputs", "an object", value)
    given = Fields(value, "structured_outputs.")
    found = [read(given, name) for name, read in _IN_STRUCTURED_OUTPUTS.items()]
    given.get("disable_any_whitespace")  # the whitespace that grammars allow is fixed anyway
    for name, item in given.unread().items():
        if item not in (None, False, "", "auto"):
            param = given.name(name)
            raise UnsupportedParameterError(f"{param} isn't supported; leave it out.", param=param)
    if value and not any(found):
        names = ", ".join(_IN_STRUCTURED_OUTPUTS)
        raise InvalidRequestError(f"structured_outputs holds none of {names}.", param="structured_outputs")
    return found


# --- kinds ----------------------------------------------------------------------------------------


def _json_schema(fields: Fields, key: str) -> Constraint | None:
    value = fields.get(key)
    # llama.cpp reads an empty object as "any JSON"; clients that fill in defaults send it for "nothing".
    if value is None or value in ("", {}):
        return None
    where = fields.name(key)
    return Constraint("json_schema", read_schema(where, value), where)


def _json_object(fields: Fields, key: str) -> Constraint | None:
    return Constraint("json_object", None, fields.name(key)) if fields.boolean(key, False) else None


def _regex(fields: Fields, key: str) -> Constraint | None:
    return _text("regex", fields, key)


def _grammar(fields: Fields, key: str) -> Constraint | None:
    return _text("grammar", fields, key)


def _text(kind: Any, fields: Fields, key: str) -> Constraint | None:
    value = fields.string(key, "")
    return Constraint(kind, value, fields.name(key)) if value else None


def _choice(fields: Fields, key: str) -> Constraint | None:
    value = fields.get(key)
    if value is None or value == []:
        return None
    where = fields.name(key)
    if not isinstance(value, list):
        raise expected(where, "a list of strings", value)
    for index, item in enumerate(value):
        if not isinstance(item, str):
            raise expected(f"{where}[{index}]", "a string", item)
        if not item:
            raise InvalidRequestError(f"{where}[{index}] is empty; a choice has at least one character.", param=where)
    return Constraint("choice", tuple(value), where)


def _structural_tag(fields: Fields, key: str) -> Constraint | None:
    value = fields.get(key)
    if value is None or value in ("", {}):
        return None
    where = fields.name(key)
    value = _decoded(where, value) if isinstance(value, str) else value
    if not isinstance(value, dict):
        raise expected(where, "an object", value)
    return Constraint("structural_tag", value, where)


def read_schema(where: str, value: Any) -> Mapping[str, Any] | bool:
    """A schema, or its JSON as a string, as vLLM takes it."""
    value = _decoded(where, value) if isinstance(value, str) else value
    if not isinstance(value, (dict, bool)):
        raise expected(where, "a JSON Schema (an object or a boolean)", value)
    return value


def _decoded(where: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise InvalidRequestError(f"{where} is nested too deeply.", param=where) from None
    except ValueError:
        raise InvalidRequestError(f"{where} is a string that isn't valid JSON.", param=where) from None


_Read = Callable[[Fields, str], "Constraint | None"]

_IN_STRUCTURED_OUTPUTS: Mapping[str, _Read] = {
    "json": _json_schema,
    "json_object": _json_object,
    "regex": _regex,
    "choice": _choice,
    "grammar": _grammar,
    "structural_tag": _structural_tag,
}

# vLLM's names until 0.12, SGLang's, llama.cpp's.
_TOP_LEVEL: Mapping[str, _Read] = {
    "guided_json": _json_schema,
    "guided_json_object": _json_object,
    "guided_regex": _regex,
    "guided_choice": _choice,
    "guided_grammar": _grammar,
    "regex": _regex,
    "ebnf": _grammar,
    "structural_tag": _structural_tag,
    "grammar": _grammar,
    "json_schema": _json_schema,
}
