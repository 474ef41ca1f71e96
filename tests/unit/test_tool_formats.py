from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from fixtures.tool_cases import TOOLS
from inglenook.errors import ConfigError, InvalidRequestError
from inglenook.grammar.json_schema import prepare_schema
from inglenook.text.tool_formats import generic, registry
from inglenook.text.tool_formats.mistral import new_call_id
from inglenook.text.tool_formats.schemas import arguments_schema, close_objects
from inglenook.types import Tool, ToolUse

# What tells a template, as the models' own have it.
MARKS = {
    "Qwen2.5": ("{%- if tools %} <tools></tools> within <tool_call></tool_call> XML tags", "hermes"),
    "Hermes-3": ("{{- '<tool_call>' }} {%- for tool in tools %} </tool_call>", "hermes"),
    "Llama-3.1": ("custom_tools <|python_tag|> Environment: ipython {'name': function name", "llama3_json"),
    "Llama-3.2": ("custom_tools is defined Environment: ipython", "llama3_json"),
    "Mistral-7B-v0.3": ("[AVAILABLE_TOOLS] tools [TOOL_CALLS] [", "mistral_list"),
    "Mistral-Nemo": ("tools is not none [AVAILABLE_TOOLS][ [TOOL_CALLS][", "mistral_list"),
    "Mistral-Small-3.2": ("tools [TOOL_CALLS]' + tool_call.function.name [CALL_ID] [ARGS]", "mistral_call_id"),
    "Ministral-3": ("tools '[TOOL_CALLS]' + tool['function']['name'] + '[ARGS]'", "mistral_args"),
    "Granite-3.0": ("{%- if tools %} <|start_of_role|>available_tools<|end_of_role|> <|tool_call|>", "granite"),
    "Granite-4": ("{%- if tools %} <|start_of_role|> <tool_call> </tool_call>", "hermes"),
    "Granite-20B-FC": ("{%- if tools %} <|function_call_library|> <function_call> {", "granite-20b-fc"),
    "Phi-4-mini": ("message['tools'] is not none <|tool|> <|/tool|>", "phi4_mini_json"),
    "Phi-4-mini of vLLM": ("{%- if tools %} functools[", "phi4_mini_json"),
    "FireFunction-v2": ("functions ' functools[' ", "phi4_mini_json"),
    "InternLM2.5 of vLLM": ("tools <|im_start|>system name=<|plugin|> <|action_start|><|plugin|>", "internlm"),
    "Command-R-plus": ("tools directly_answer() Action: ```json", "command_r"),
    "Command-R7B": ("tools <|START_ACTION|>[ tool_call_id tool_name <|END_ACTION|>", "cohere_command3"),
    "Functionary-v3.1": ("version=v3-llama3.1 tools <|python_tag|> <function=", "functionary_v3.1"),
    "Functionary-v3.2": ("functions '>>>all\\n' + message['content']", "functionary_v3.2"),
    "Jamba-1.5": ("tools <tool_calls>[ ]</tool_calls>", "jamba"),
    "Nemotron-Nano-2": ("tools <TOOLCALL>[ ]</TOOLCALL> <AVAILABLE_TOOLS>", "nemotron"),
    "xLAM-2": ('tools developed by Salesforce xLAM team [{"name": "tool_call_name"', "xlam"),
    "DeepSeek-R1": (
        "tool_calls <｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + name '\\n' + '```json' tools",
        "deepseek_v3",
    ),
    "DeepSeek-V3.1": ("tools '<｜tool▁call▁begin｜>'+ name + '<｜tool▁sep｜>'", "deepseek_v31"),
    "Kimi-K2": ("tools <|tool_calls_section_begin|> <|tool_call_begin|> <|tool_call_argument_begin|>", "kimi_k2"),
    "GLM-4.5": ("tools <tool_call>{function-name}\n<arg_key>k</arg_key>\n<arg_value>v</arg_value>", "glm45"),
    "GLM-4.7": ("tools <tool_call>{function-name}<arg_key>k</arg_key><arg_value>v</arg_value>", "glm47"),
    "Qwen3-Coder": ("tools <tool_call>\n<function=example_function_name>\n<parameter=example_1>", "qwen3_coder"),
    "Seed-OSS": ("tools <seed:tool_call>\n<function=example_function_name>\n<parameter=example_1>", "seed_oss"),
    "MiniMax-M2": ("tools <minimax:tool_call> <invoke name=", "minimax_m2"),
    "GPT-OSS": ("tools namespace functions <|start|>assistant<|channel|>final<|message|>", "openai"),
    "Llama-4 of vLLM": ("tools <|python_start|>[func_name1(params_name1=params_value1)]", "llama4_pythonic"),
    "Llama-3.2 of vLLM": ("tools [func_name1(params_name1=params_value1, params_name2=x), func_name2()]", "pythonic"),
    "LFM2": ("tools <|tool_list_start|> <|tool_call_start|>", "lfm2"),
    "OLMo-3": ("tools <functions> <function_calls>", "olmo3"),
    "SmolLM2": ("{% for message in messages %}{{'<|im_start|>' + message['role']}}", "generic"),
    "something else": ("{% if tools %}{{ tools }}{% endif %}", "generic"),
}


@pytest.mark.parametrize("model", MARKS)
def test_formats_are_known_by_what_is_in_the_template(model: str) -> None:
    template, expected = MARKS[model]
    assert registry.detect(template, frozenset()).name == expected


def test_every_name_finds_its_format() -> None:
    for name in registry.names():
        assert registry.find(name).name == name
    assert registry.find("qwen25").name == "hermes"


def test_unknown_names_are_told_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"'hermit'.*hermes.*mistral"):
        registry.find("hermit")


def test_the_registry_imports_no_format() -> None:
    code = (
        "import sys; from inglenook.text.tool_formats import registry; "
        "print([n for n in sys.modules if '.tool_formats.' in n or n in ('tokenizers', 'llguidance')])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == (
        "['inglenook.text.tool_formats.registry']\n"
    )


def test_mistrals_ids_have_nine_characters() -> None:
    ids = {new_call_id() for _ in range(100)}
    assert len(ids) == 100 and all(len(call_id) == 9 and call_id.isalnum() for call_id in ids)


# --- schemas --------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [{}, {"type": "object", "properties": {}}])
def test_a_tool_without_parameters_takes_none(parameters: dict[str, object]) -> None:
    schema = arguments_schema(Tool("now", {}, parameters=parameters))
    assert schema == {"type": "object", "properties": {}, "additionalProperties": False}


def test_objects_that_name_their_properties_are_closed() -> None:
    inner = {"type": "object", "properties": {"b": {"type": "string"}}}
    schema = {
        "type": "object",
        "properties": {
            "one": inner,
            "many": {"type": "array", "items": inner},
            "either": {"anyOf": [inner, {"type": "null"}]},
            "named": {"$ref": "#/$defs/Named"},
            "properties": {"type": "integer"},  # a property of this name
            "free": {"type": "object"},
            "open": {**inner, "additionalProperties": True},
        },
        "$defs": {"Named": inner},
    }
    closed = close_objects(schema)
    shut = {**inner, "additionalProperties": False}
    assert closed["additionalProperties"] is False
    assert closed["properties"] == {
        "one": shut,
        "many": {"type": "array", "items": shut},
        "either": {"anyOf": [shut, {"type": "null"}]},
        "named": {"$ref": "#/$defs/Named"},
        "properties": {"type": "integer"},
        "free": {"type": "object"},
        "open": {**inner, "additionalProperties": True},
    }
    assert closed["$defs"] == {"Named": shut}
    assert "additionalProperties" not in inner, "the client's schema is left as it is"


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]},
        {"properties": {"a": {}}, "anyOf": [{"properties": {"b": {}}}, {"required": ["c"]}]},
        {"properties": {"a": {}}, "$ref": "#/$defs/B", "$defs": {"B": {"properties": {"b": {}}}}},
        {"properties": {"a": {}}, "if": {"properties": {"a": {"const": 1}}}, "then": {"properties": {"b": {}}}},
    ],
)
def test_what_is_put_together_stays_open(schema: dict[str, object]) -> None:
    assert close_objects(schema) == schema


def test_arguments_are_an_object_even_if_the_schema_does_not_say_so() -> None:
    assert arguments_schema(Tool("f", {}, parameters={"properties": {"a": {}}}))["type"] == "object"


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_schemas_that_were_made_ready_stay_as_they_are(tool: Tool) -> None:
    ready = prepare_schema(arguments_schema(tool), param="tools")
    assert isinstance(ready, dict)
    assert arguments_schema(replace(tool, parameters=ready)) == ready


def test_a_schema_that_is_too_deep_is_the_clients_error() -> None:
    schema: dict[str, object] = {"type": "string"}
    for _ in range(10_000):
        schema = {"properties": {"a": schema}}
    with pytest.raises(InvalidRequestError, match="nested too deeply") as caught:
        arguments_schema(Tool("f", {}, parameters=schema))
    assert caught.value.param == "tools"


# --- the generic format ---------------------------------------------------------------------------


def test_instructions_name_the_tools_and_what_must_be_done() -> None:
    free = generic.instructions(TOOLS, ToolUse(TOOLS))
    assert all(json.dumps(tool.name) in free for tool in TOOLS)
    assert "must" not in free and "at most one" not in free
    named = generic.instructions(TOOLS, ToolUse(TOOLS, "required", frozenset(("now",)), is_parallel=False))
    assert "must call now" in named and "at most one" in named
    assert generic.instructions(TOOLS, ToolUse(TOOLS, "none")) == generic.instructions((), ToolUse()) == ""


def test_past_calls_are_written_as_the_model_writes_them() -> None:
    calls = [
        {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Köln"}'}},
        {"id": "call_2", "type": "function", "function": {"name": "convert", "arguments": {"amount": 1.0}}},
        {"id": "call_3", "type": "function", "function": {"name": "now", "arguments": ""}},
    ]
    parser = generic.FORMAT.parser(TOOLS)
    deltas = [*parser.push(generic.call_text(calls)).tool_calls, *parser.finish().tool_calls]
    assert [delta.name for delta in deltas if delta.name] == ["get_weather", "convert", "now"]
    assert [delta.arguments for delta in deltas if not delta.name] == ['{"city":"Köln"}', '{"amount": 1.0}', "{}"]


def test_results_say_what_they_are_of() -> None:
    assert "get_weather" in generic.result_text("21 degrees", "get_weather")
    assert "21 degrees" in generic.result_text("21 degrees")
