"""Bodies and answers of the routes that show prompts and tokens: vLLM's, llama.cpp's and Text Generation Inference's.

Their bodies are told apart by their fields: `messages` or `prompt` (vLLM), `content` (llama.cpp), `inputs` (TGI).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import UNSET

from inglenook.dialects import tokenization_wire as wire
from inglenook.dialects.json_fields import Fields, as_token_id, decode_object, expected
from inglenook.dialects.openai.answers import encode_json
from inglenook.dialects.openai.requests import read_chat
from inglenook.errors import InvalidRequestError, UnsupportedParameterError
from inglenook.types import ChatRequest, CompletionRequest, RenderedPrompt, SamplingParams

_KINDS: dict[str, Literal["vllm", "llama.cpp", "tgi"]] = {"prompt": "vllm", "content": "llama.cpp", "inputs": "tgi"}


@dataclass(frozen=True)
class TokenizeCall:
    """`with_strings`: vLLM's return_token_strs, llama.cpp's with_pieces."""

    request: ChatRequest | CompletionRequest
    kind: Literal["vllm", "llama.cpp", "tgi"]
    with_strings: bool
    unknown_fields: tuple[str, ...] = ()

    @property
    def needs_tokens(self) -> bool:
        return self.with_strings or self.kind == "tgi"


def parse_tokenize(body: bytes) -> TokenizeCall:
    """Body of POST /tokenize. Raises InvalidRequestError, naming the field."""
    return read_tokenize(Fields(decode_object(body)))


def read_tokenize(fields: Fields) -> TokenizeCall:
    with_strings = fields.boolean("return_token_strs", False)
    with_pieces = fields.boolean("with_pieces", False)
    if fields.get("messages") is not None:
        parsed = read_chat(fields, "tokenize")
        return TokenizeCall(parsed.request, "vllm", with_strings, parsed.unknown_fields)
    given = [name for name in _KINDS if fields.get(name) is not None]
    if len(given) != 1:
        raise InvalidRequestError(
            "Give one of messages, prompt, content and inputs: what is to be tokenised.", param="prompt"
        )
    kind = _KINDS[given[0]]
    if kind == "llama.cpp" and not fields.boolean("parse_special", True):
        raise UnsupportedParameterError(
            "parse_special: false isn't supported: special tokens that a text spells out are always recognised.",
            param="parse_special",
        )
    # Each as its server has it: llama.cpp leaves special tokens out unless they are asked for.
    name = "add_special" if kind == "llama.cpp" else "add_special_tokens"
    adds_special = fields.boolean(name, kind != "llama.cpp")
    fields.object("parameters")  # TGI's, for generating
    request = CompletionRequest(
        "tokenize",
        fields.string("model", ""),
        SamplingParams(),
        prompts=(fields.string(given[0], ""),),
        add_special_tokens=adds_special,
    )
    unknown = tuple(key for key, value in fields.unread().items() if value is not None)
    return TokenizeCall(request, kind, with_strings or with_pieces, unknown)


def parse_detokenize(body: bytes) -> tuple[str, list[int]]:
    """Body of POST /detokenize: the model's name and the token ids."""
    return read_detokenize(Fields(decode_object(body)))


def read_detokenize(fields: Fields) -> tuple[str, list[int]]:
    tokens = fields.get("tokens")
    if not isinstance(tokens, list):
        raise expected("tokens", "a list of token ids", tokens)
    return fields.string("model", ""), [as_token_id(f"tokens[{index}]", value) for index, value in enumerate(tokens)]


def tokenize_body(call: TokenizeCall, prompt: RenderedPrompt, max_model_len: int) -> bytes:
    ids = prompt.token_ids
    if call.kind == "tgi":
        text = prompt.text
        return encode_json([wire.TgiToken(t.token_id, text[t.start : t.end], t.start, t.end) for t in prompt.tokens])
    if call.kind == "llama.cpp":
        pieces = [wire.Piece(token.token_id, _piece(token.bytes)) for token in prompt.tokens]
        return encode_json(wire.LlamaCppTokens([*pieces] if call.with_strings else [*ids]))
    names = [token.name for token in prompt.tokens] if call.with_strings else None
    return encode_json(wire.VllmTokens(len(ids), max_model_len, ids, names, prompt.warnings or UNSET))


def _piece(data: bytes) -> str | list[int]:
    """Bytes that are no whole characters as a list of numbers, as llama.cpp has it."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)


def detokenize_body(text: str) -> bytes:
    return encode_json(wire.Detokenized(text, text))


def render_body(model: str, prompts: Sequence[RenderedPrompt], max_model_len: int, *, is_chat: bool) -> bytes:
    """One object for a chat, a list of them for a completion: with `token_ids` as in vLLM."""
    objects = [
        wire.RenderedBody("prompt", model, p.text, p.token_ids, len(p.token_ids), max_model_len, p.warnings)
        for p in prompts
    ]
    return encode_json(objects[0] if is_chat else objects)


def template_body(prompt: RenderedPrompt) -> bytes:
    """llama.cpp's POST /apply-template."""
    return encode_json(wire.AppliedTemplate(prompt.text))


def count_body(prompt: RenderedPrompt) -> bytes:
    """OpenAI's counter of input tokens, as llama.cpp has it for chats too."""
    return encode_json(wire.InputTokens("response.input_tokens", len(prompt.token_ids)))
