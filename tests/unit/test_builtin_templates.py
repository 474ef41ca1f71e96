"""Built-in chat templates against what FastChat's conversations give (roles and separators of its conversation.py), and
against the models' own formats where FastChat has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures.vocabularies import byte_level_metadata, sentencepiece_metadata
from inglenook.errors import CheckpointError, ConfigError
from inglenook.text.builtin_templates import builtin_names, builtin_template, choose_template
from inglenook.text.chat_template import ChatTemplate, find_template
from inglenook.text.tokenizer import Tokenizer

USER_1, ANSWER, USER_2 = (
    {"role": "user", "content": "A?"},
    {"role": "assistant", "content": "B."},
    {"role": "user", "content": "C?"},
)
SYSTEM = {"role": "system", "content": "S"}
CURIOUS = (
    "A chat between a curious {0} and an artificial intelligence assistant. The assistant gives helpful, detailed, and "
    "polite answers to the {0}'s questions."
)
INSTRUCTION = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)
CODER = "You are an AI programming assistant, utilizing the DeepSeek Coder model"

COLON = "\uff1a"  # the wide one

# With a system message, then without: the first is the whole prompt, the second how it begins.
EXPECTED: dict[str, tuple[str, str]] = {
    "alpaca": (
        "S\n\n### Instruction: A?\n\n### Response: B.</s>### Instruction: C?\n\n### Response:",
        INSTRUCTION + "\n\n### Instruction: A?\n\n",
    ),
    "baichuan-chat": ("S<reserved_102>A?<reserved_103>B.<reserved_102>C?<reserved_103>", "<reserved_102>A?"),
    "baichuan2-chat": ("S<reserved_106>A?<reserved_107>B.<reserved_106>C?<reserved_107>", "<reserved_106>A?"),
    "chatglm": (
        f"S\n[Round 0]\n问{COLON}A?\n答{COLON}B.\n[Round 1]\n问{COLON}C?\n答{COLON}",
        f"[Round 0]\n问{COLON}A?\n",
    ),
    "chatglm2": (
        f"S\n\n[Round 1]\n\n问{COLON}A?\n\n答{COLON}B.\n\n[Round 2]\n\n问{COLON}C?\n\n答{COLON}",
        f"[Round 1]\n\n问{COLON}A?\n\n",
    ),
    "chatglm3": (
        "[gMASK]sop<|system|>\n S<|user|>\n A?<|assistant|>\n B.<|user|>\n C?<|assistant|>",
        "[gMASK]sop<|user|>\n A?",
    ),
    "chatml": (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA?<|im_end|>\n<|im_start|>assistant\nB.<|im_end|>\n"
        "<|im_start|>user\nC?<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>user\nA?<|im_end|>\n",
    ),
    "command-r": (
        "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>S<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>A?<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>B.<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>C?<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>A?",
    ),
    "deepseek-chat": ("S\n\nUser: A?\n\nAssistant: B.</s>User: C?\n\nAssistant:", "User: A?\n\n"),
    "deepseek-coder": (
        "S\n### Instruction:\nA?\n### Response:\nB.\n<|EOT|>\n### Instruction:\nC?\n### Response:\n",
        CODER,
    ),
    "dolly_v2": (
        "S### Instruction:\nA?\n\n### Response:\nB.### End\n\n### Instruction:\nC?\n\n### Response:\n",
        INSTRUCTION + "\n\n### Instruction:\nA?\n\n",
    ),
    "falcon": ("S\n\nUser: A?\n\nAssistant: B.\n\nUser: C?\n\nAssistant:", "User: A?\n\n"),
    "falcon-chat": ("System: S\nUser: A?\nFalcon: B.\nUser: C?\nFalcon:", "User: A?\n"),
    "gemma": (
        "",
        "<start_of_turn>user\nA?<end_of_turn>\n<start_of_turn>model\nB.<end_of_turn>\n<start_of_turn>user\nC?"
        "<end_of_turn>\n<start_of_turn>model\n",
    ),
    "granite": (
        "<|start_of_role|>system<|end_of_role|>S<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>A?<|end_of_text|>\n"
        "<|start_of_role|>assistant<|end_of_role|>B.<|end_of_text|>\n"
        "<|start_of_role|>user<|end_of_role|>C?<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
        "<|start_of_role|>user<|end_of_role|>A?",
    ),
    "h2ogpt": ("S<|prompt|>A?</s><|answer|>B.</s><|prompt|>C?</s><|answer|>", "<|prompt|>A?</s>"),
    "internlm-chat": (
        "S<s><|User|>:A?<eoh>\n<|Bot|>:B.<eoa>\n<s><|User|>:C?<eoh>\n<|Bot|>:",
        "<s><|User|>:A?<eoh>\n",
    ),
    "koala_v1": ("S USER: A? GPT: B.</s>USER: C? GPT:", "BEGINNING OF CONVERSATION: USER: A? "),
    "llama-2": (
        "[INST] <<SYS>>\nS\n<</SYS>>\n\nA? [/INST] B. </s><s>[INST] C? [/INST]",
        "[INST] A? [/INST] B. </s><s>[INST] C? [/INST]",
    ),
    "llama-3": (
        "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nA?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nB.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nC?"
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|start_header_id|>user<|end_header_id|>\n\nA?",
    ),
    "manticore": ("S\nUSER: A?\nASSISTANT: B.</s>USER: C?\nASSISTANT:", "\nUSER: A?\n"),
    "mistral": ("[INST] S\nA? [/INST] B.</s>[INST] C? [/INST]", "[INST] A? [/INST]"),
    "oasst_pythia": ("S<|prompter|>A?</s><|assistant|>B.</s><|prompter|>C?</s><|assistant|>", "<|prompter|>A?</s>"),
    "one_shot": (
        "S\n### Human: Which is the larger number, 0.8 or 3/4?\n### Assistant: 0.8 is larger. As a decimal, 3/4 is "
        "0.75, which is 0.05 less.\n### Human: A?\n### Assistant: B.\n### Human: C?\n### Assistant:",
        CURIOUS.format("human") + "\n### Human: Which",
    ),
    "openbuddy": ("S\nUser: A?\nAssistant: B.\nUser: C?\nAssistant:", "User: A?\n"),
    "openchat_3.5": (
        "S<|end_of_turn|>GPT4 Correct User: A?<|end_of_turn|>GPT4 Correct Assistant: B.<|end_of_turn|>"
        "GPT4 Correct User: C?<|end_of_turn|>GPT4 Correct Assistant:",
        "GPT4 Correct User: A?",
    ),
    "phi-2": ("S\nInstruct: A?\nOutput: B.\nInstruct: C?\nOutput:", "Instruct: A?\n"),
    "phi-3": (
        "<|system|>\nS<|end|>\n<|user|>\nA?<|end|>\n<|assistant|>\nB.<|end|>\n<|user|>\nC?<|end|>\n<|assistant|>\n",
        "<|user|>\nA?",
    ),
    "phi-4": (
        "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|>A?<|im_end|><|im_start|>assistant<|im_sep|>B."
        "<|im_end|><|im_start|>user<|im_sep|>C?<|im_end|><|im_start|>assistant<|im_sep|>",
        "<|im_start|>user<|im_sep|>A?",
    ),
    "phind": (
        "S\n\n### User Message: A?\n\n### Assistant: B.\n\n### User Message: C?\n\n### Assistant:",
        "### System Prompt\nYou are an intelligent programming assistant.\n\n### User Message: A?\n\n",
    ),
    "qwen": (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA?<|im_end|>\n<|im_start|>assistant\nB.<|im_end|>\n"
        "<|im_start|>user\nC?<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nA?",
    ),
    "raw": ("SA?B.C?", "A?B.C?"),
    "redpajama-incite": ("S\n<human>: A?\n<bot>: B.\n<human>: C?\n<bot>:", "<human>: A?\n"),
    "solar": (
        "S\n\n### User\nA?\n\n### Assistant\nB.\n\n### User\nC?\n\n### Assistant\n",
        "### User\nA?\n\n",
    ),
    "starchat": (
        "<|system|>\nS<|end|>\n<|user|>\nA?<|end|>\n<|assistant|>\nB.<|end|>\n<|user|>\nC?<|end|>\n<|assistant|>\n",
        "<|user|>\nA?",
    ),
    "tulu": ("S\n<|user|>\nA?\n<|assistant|>\nB.\n<|user|>\nC?\n<|assistant|>\n", "<|user|>\nA?\n"),
    "vicuna_v1.1": (
        "S USER: A? ASSISTANT: B.</s>USER: C? ASSISTANT:",
        CURIOUS.format("user") + " USER: A? ",
    ),
    "xgen": (
        "S\n### Human: A?\n### Assistant: B.\n### Human: C?\n### Assistant:",
        CURIOUS.format("human") + "\n### Human: A?\n",
    ),
    "zephyr": (
        "<|system|>\nS</s>\n<|user|>\nA?</s>\n<|assistant|>\nB.</s>\n<|user|>\nC?</s>\n<|assistant|>\n",
        "<|user|>\nA?</s>\n",
    ),
    "zero_shot": (
        "S\n### Human: A?\n### Assistant: B.\n### Human: C?\n### Assistant:",
        CURIOUS.format("human") + "\n### Human: A?\n",
    ),
}


def render(name: str, messages: list[dict[str, Any]]) -> str:
    named = builtin_template(name)
    assert named is not None
    return ChatTemplate(named.source, {"bos_token": "<s>", "eos_token": "</s>"}).render(messages)


def test_each_is_expected() -> None:
    assert set(EXPECTED) == set(builtin_names())


def test_the_documentation_names_them_all() -> None:
    text = (Path(__file__).parents[2] / "docs" / "messages.md").read_text()
    paragraph = next(part for part in text.split("\n\n") if part.startswith("`alpaca`"))
    assert paragraph.replace("`", "").split() == builtin_names()


@pytest.mark.parametrize("name", EXPECTED)
def test_renders(name: str) -> None:
    with_system, without = EXPECTED[name]
    if with_system:
        assert render(name, [SYSTEM, USER_1, ANSWER, USER_2]) == with_system
    assert render(name, [USER_1, ANSWER, USER_2]).startswith(without)


@pytest.mark.parametrize(
    ("alias", "name"),
    [("one-shot", "one_shot"), ("Vicuna", "vicuna_v1.1"), ("qwen-7b-chat", "qwen"), ("deepseek", "deepseek-chat")],
)
def test_other_names(alias: str, name: str) -> None:
    assert builtin_template(alias) == builtin_template(name) is not None


def test_stops() -> None:
    stops = {name: named.stop for name in builtin_names() if (named := builtin_template(name)) and named.stop}
    assert stops["zero_shot"] == ("###",)
    assert stops["falcon"] == ("\nUser",)
    assert "chatml" not in stops


def test_what_a_choice_means(tmp_path: Path) -> None:
    own = {"default": "own default", "rag": "own rag"}
    file = tmp_path / "chatml"
    file.write_text("a file", encoding="utf-8")
    assert choose_template(str(file), own).source == "a file"
    assert choose_template("rag", own).source == "own rag"
    assert choose_template("{{ messages }}", own).source == "{{ messages }}"
    assert choose_template("chatml", own) == builtin_template("chatml")
    with pytest.raises(ConfigError, match=r"neither a file nor a name.*default, rag.*alpaca.*zero_shot") as error:
        choose_template("nothing", own)
    assert error.value.param == "chat_template"
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="can't be read"):
        choose_template(str(file), own)


def test_bos_comes_from_the_tokenizer() -> None:
    with_bos = Tokenizer.from_gguf(sentencepiece_metadata())
    template = find_template(with_bos, "vicuna")
    assert template is not None
    assert template.render([SYSTEM, USER_1]) == "<s>S USER: A? ASSISTANT:"
    assert with_bos.encode(template.render([USER_1]), add_special_tokens=False).count(with_bos.bos_token_id) == 1
    without = find_template(Tokenizer.from_gguf(byte_level_metadata()), "vicuna")
    assert without is not None
    assert without.render([SYSTEM, USER_1]) == "S USER: A? ASSISTANT:"


def test_named_templates_of_a_model() -> None:
    key = "tokenizer.chat_template"
    both = {**byte_level_metadata(), key: "usual", f"{key}.tool_use": "with tools", f"{key}.rag": "with documents"}
    template = find_template(Tokenizer.from_gguf(both))
    assert template is not None
    assert (template.source, template.for_tools.source) == ("usual", "with tools")
    chosen = find_template(Tokenizer.from_gguf(both), "rag")
    assert chosen is not None
    assert chosen.source == chosen.for_tools.source == "with documents"
    only = find_template(Tokenizer.from_gguf({**byte_level_metadata(), f"{key}.tool_use": "with tools"}))
    assert only is not None and only.source == "with tools"
    neither = {**byte_level_metadata(), f"{key}.tool_use": "with tools", f"{key}.rag": "with documents"}
    with pytest.raises(CheckpointError, match="rag, tool_use"):
        find_template(Tokenizer.from_gguf(neither))
