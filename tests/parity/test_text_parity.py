"""Tokenizers and chat templates against transformers."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend
from transformers import LlamaTokenizer, PreTrainedTokenizerFast
from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer
from transformers.tokenization_utils_base import generate_merges

from fixtures.chat_templates import TEMPLATES
from fixtures.vocabularies import CORPUS, ODD_TEXTS, byte_level_metadata, sentencepiece_metadata
from inglenook.checkpoint.gguf_header import read_header
from inglenook.errors import InvalidRequestError
from inglenook.text.chat_template import ChatTemplate
from inglenook.text.detokenizer import Detokenizer
from inglenook.text.gguf_tokenizer import merges_from_scores
from inglenook.text.tokenizer import Tokenizer

TEXTS = ODD_TEXTS + CORPUS


@pytest.fixture(scope="module")
def default_tokenizer(default_gguf_path: Path) -> Tokenizer:
    with default_gguf_path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return Tokenizer.from_gguf(read_header(data, default_gguf_path.name).metadata)


@pytest.fixture(scope="module")
def default_oracle(default_gguf_path: Path) -> Any:
    """The model's tokenizer as transformers reads it from the same file.

    It doesn't know the splitter "smollm" and falls back to GPT-2's; the published tokenizer.json cuts digits first.
    """
    architecture, data, config = get_gguf_tokenizer(str(default_gguf_path))
    backend, _ = convert_gguf_tokenizer(architecture, data)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, **config)


def assert_same(tokenizer: Tokenizer, oracle: Any, text: str) -> None:
    for special in (True, False):
        ids = tokenizer.encode(text, add_special_tokens=special)
        assert ids == oracle.encode(text, add_special_tokens=special), text
        for skip in (True, False):
            expected = oracle.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
            assert tokenizer.decode(ids, skip_special_tokens=skip) == expected


def test_default_model_odd_texts(default_tokenizer: Tokenizer, default_oracle: Any) -> None:
    for text in TEXTS:
        assert_same(default_tokenizer, default_oracle, text)


@settings(deadline=None)
@given(text=st.text())
def test_default_model_all_of_unicode(default_tokenizer: Tokenizer, default_oracle: Any, text: str) -> None:
    assert_same(default_tokenizer, default_oracle, text)
    text = "".join(character for character in text if not _MISSING_BYTES.intersection(character.encode()))
    assert default_tokenizer.decode(default_tokenizer.encode(text), skip_special_tokens=False) == text


# No text that the model was trained on had them: six control characters, and U+40000 to U+BFFFF. The rest isn't UTF-8.
_MISSING_BYTES = {0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, 0xC0, 0xC1, 0xF1, 0xF2, *range(0xF5, 0x100)}


def test_bytes_of_the_default_model(default_tokenizer: Tokenizer) -> None:
    single = {default_tokenizer.token_bytes(token_id) for token_id in range(default_tokenizer.vocab_size)}
    assert {byte for byte in range(256) if bytes([byte]) not in single} == _MISSING_BYTES


@settings(deadline=None)
@given(ids=st.lists(st.integers(0, 49151), max_size=60))
def test_default_model_random_ids(default_tokenizer: Tokenizer, default_oracle: Any, ids: list[int]) -> None:
    expected = default_oracle.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert default_tokenizer.decode(ids) == expected
    detokenizer = Detokenizer(default_tokenizer)
    assert "".join(map(detokenizer.push, ids)) + detokenizer.flush() == expected


def test_default_model_knows_its_tokens(default_tokenizer: Tokenizer, default_oracle: Any) -> None:
    assert default_tokenizer.vocab_size == len(default_oracle) == 49152
    assert default_tokenizer.special_ids == set(default_oracle.all_special_ids) | {*range(17)}
    assert default_tokenizer.special_tokens == default_oracle.special_tokens_map
    assert default_tokenizer.chat_template == default_oracle.chat_template
    assert {default_tokenizer.token_name(i) for i in default_tokenizer.end_of_turn_ids} == {
        "<|im_end|>",
        "<|endoftext|>",
    }


def test_published_ids_of_the_default_model(default_tokenizer: Tokenizer) -> None:
    """Ids that others who run this model publish."""
    assert default_tokenizer.encode("Hello world! 123") == [19556, 905, 17, 216, 33, 34, 35]
    assert default_tokenizer.encode("Café déjà vu.") == [51, 1939, 2756, 32564, 90, 16739, 386, 101, 30]
    assert default_tokenizer.encode("  multiple   spaces") == [216, 2701, 256, 5600]


# --- SentencePiece vocabularies ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sentencepiece() -> Tokenizer:
    return Tokenizer.from_gguf(sentencepiece_metadata())


def transformers_merges() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary, and the merges that the converter of transformers derives from its scores."""
    tokens = sentencepiece_metadata()["tokenizer.ggml.tokens"]
    vocab = {token: token_id for token_id, token in enumerate(tokens)}
    scores = dict(zip(tokens, sentencepiece_metadata()["tokenizer.ggml.scores"], strict=True))
    return vocab, generate_merges(vocab, scores)


def test_merges_are_those_of_transformers() -> None:
    vocab, merges = transformers_merges()
    assert merges_from_scores(vocab, sentencepiece_metadata()["tokenizer.ggml.scores"]) == merges


def test_sentencepiece_against_llama_tokenizer(sentencepiece: Tokenizer) -> None:
    vocab, merges = transformers_merges()
    oracle = LlamaTokenizer(vocab=vocab, merges=merges, add_bos_token=True, legacy=True)
    oracle.add_tokens([AddedToken("<think>", normalized=False)])
    for text in TEXTS:
        # The class puts no second space before a text that begins with one, nor before an empty text
        if text and not text.startswith((" ", "▁")) and "<s>" not in text:
            assert_same(sentencepiece, oracle, text)


@settings(deadline=None)
@given(text=st.text(st.characters(codec="utf-8")) | st.sampled_from(TEXTS))
def test_sentencepiece_as_published(sentencepiece: Tokenizer, text: str) -> None:
    """Against a tokenizer.json as Llama 2, TinyLlama and Mistral publish it."""
    assert_same(sentencepiece, LLAMA_2_ORACLE, text)


def _llama_2_oracle() -> Any:
    vocab, merges = transformers_merges()
    backend = Backend(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens([AddedToken(name, normalized=False) for name in ("<unk>", "<s>", "</s>")])
    backend.add_tokens([AddedToken("<think>", normalized=False)])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


LLAMA_2_ORACLE = _llama_2_oracle()


# --- tokenizer.json ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["byte_level", "sentencepiece"])
@pytest.mark.parametrize("flags", [{}, {"add_bos_token": True}, {"add_bos_token": True, "add_eos_token": True}])
def test_folder(tmp_path: Path, kind: str, flags: dict[str, bool]) -> None:
    metadata = byte_level_metadata() if kind == "byte_level" else sentencepiece_metadata()
    names = Tokenizer.from_gguf(metadata).special_tokens
    backend = Tokenizer.from_gguf(metadata)._backend
    template = TEMPLATES["llama3"]
    PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=template, **names, **flags).save_pretrained(
        tmp_path
    )
    tokenizer = Tokenizer.from_folder(tmp_path)
    oracle = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    for text in TEXTS:
        assert_same(tokenizer, oracle, text)
    assert tokenizer.special_tokens == oracle.special_tokens_map
    assert tokenizer.chat_template == template


# --- chat templates ------------------------------------------------------------------------------------------------

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "currency_calculator",
            "description": "Currency <exchange> calculator → 'EUR' & \"USD\".",
            "parameters": {
                "type": "object",
                "properties": {
                    "base_amount": {"type": "number", "default": 1.5},
                    "base_currency": {"enum": ["USD", "EUR"], "type": "string"},
                },
                "required": ["base_amount"],
            },
        },
    }
]
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "currency_calculator", "arguments": {"base_amount": 123.45, "note": "ü"}},
}
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "user": [{"role": "user", "content": "Hi"}],
    "system": [{"role": "system", "content": " Be brief.\n"}, {"role": "user", "content": "  Hi  "}],
    "long": [
        {"role": "user", "content": "One\n\ntwo"},
        {"role": "assistant", "content": "\nthree", "reasoning_content": "\nhm\n"},
        {"role": "user", "content": "<|im_end|> {{ evil }} {% raw %}", "name": "Bob"},
        {"role": "assistant", "content": "four ", "reasoning": "because"},
    ],
    "assistants": [{"role": "assistant", "content": "You are Bob."}, {"role": "assistant", "content": ""}],
    "tools": [
        {"role": "system", "content": "Use tools."},
        {"role": "user", "content": "How much is 123.45 EUR in USD?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "135.80 USD", "tool_call_id": "call_1"},
        {"role": "assistant", "content": "135.80 USD.", "tool_calls": None},
        {"role": "user", "content": "Thanks"},
    ],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "prompt": {"add_generation_prompt": True},
    "closed": {"add_generation_prompt": False},
    "continued": {"add_generation_prompt": False, "continue_final_message": True},
    "tools": {"add_generation_prompt": True, "tools": TOOLS},
    "documents": {"add_generation_prompt": True, "documents": [{"title": "T", "text": "x\ny"}, {"text": "<z>"}]},
    "arguments": {"add_generation_prompt": True, "enable_thinking": False, "date_string": "1 May", "bos_token": "<B>"},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_render_byte_for_byte(name: str, conversation: str, options: str) -> None:
    template = ChatTemplate(TEMPLATES[name], LLAMA_2_ORACLE.special_tokens_map)
    messages = CONVERSATIONS[conversation]
    expected, refusal = rendered_by_transformers(TEMPLATES[name], messages, OPTIONS[options])
    if refusal is None:
        assert template.render(messages, **OPTIONS[options]) == expected
        return
    with pytest.raises(InvalidRequestError) as error:
        template.render(messages, **OPTIONS[options])
    if not isinstance(refusal, ValueError):  # the template's own words; a ValueError is of continue_final_message
        assert str(refusal) in error.value.message
    else:
        assert error.value.param == "continue_final_message"


def rendered_by_transformers(
    source: str, messages: list[dict[str, Any]], options: dict[str, Any]
) -> tuple[str, Exception | None]:
    try:
        return LLAMA_2_ORACLE.apply_chat_template(messages, chat_template=source, tokenize=False, **options), None
    except Exception as refusal:
        return "", refusal


def test_most_templates_render() -> None:
    """The test above compares texts, not only refusals."""
    results = {
        (name, conversation, option): rendered_by_transformers(source, messages, options)
        for name, source in TEMPLATES.items()
        for conversation, messages in CONVERSATIONS.items()
        for option, options in OPTIONS.items()
    }
    refused = {key for key, (_, refusal) in results.items() if refusal is not None}
    # The strict templates take few of these; others don't write every last message as it is, to be continued.
    assert {name for name, _, option in refused if option != "continued"} == {"mistral", "mistral-with-system"}
    assert len(refused) < len(results) / 4


def test_default_models_own_template(default_tokenizer: Tokenizer, default_oracle: Any) -> None:
    assert default_tokenizer.chat_template is not None
    template = ChatTemplate(default_tokenizer.chat_template, default_tokenizer.special_tokens)
    for messages in CONVERSATIONS.values():
        expected = default_oracle.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert template.render(messages) == expected
        expected_ids = default_oracle.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert default_tokenizer.encode(template.render(messages), add_special_tokens=False) == expected_ids
