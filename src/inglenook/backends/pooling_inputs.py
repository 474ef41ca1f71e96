"""Texts, token ids and pairs of texts as the pooling engine gets them: with prefixes, tokenised, in bounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inglenook.backends.pooling_traits import PoolingTraits
from inglenook.engine.pooling import PoolingInput
from inglenook.errors import ContextLengthError, InvalidRequestError
from inglenook.text.pairs import EncodedInput, Input
from inglenook.text.tokenizer import Tokenizer
from inglenook.types import ClassifyRequest, EmbedRequest, InputType, PoolingRequest, ScoreRequest, TextPair

# The names under which models have the prompts for what texts are, as sentence-transformers looks for them.
_PROMPT_NAMES: dict[InputType, tuple[str, ...]] = {
    "query": ("query", "search_query"),
    "document": ("document", "passage", "corpus", "search_document"),
    "classification": ("classification",),
    "clustering": ("clustering",),
}


@dataclass(frozen=True)
class ReadInputs:
    """`warnings` say what was cut, and what looks wrong."""

    inputs: list[PoolingInput]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ComparedTexts(ReadInputs):
    """Each different text once: `inputs[first]` is to be compared with `inputs[second]`."""

    pairs: tuple[tuple[int, int], ...] = ()


class InputReader:
    """Knows what of a model its inputs depend on. Every method may be called from any thread.

    All raise InvalidRequestError for what the model can't take, ContextLengthError for what is too long.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        traits: PoolingTraits,
        *,
        max_model_len: int,
        vocab_size: int,
        num_token_types: int,
    ) -> None:
        """`vocab_size` is that of the model's embeddings; `num_token_types` 0 where it has no token types."""
        self._tokenizer = tokenizer
        self._traits = traits
        self._max_model_len = max_model_len
        self._vocab_size = vocab_size
        self._num_token_types = num_token_types
        self._first_token_id = _first_special_token(tokenizer)

    def for_vectors(self, request: EmbedRequest) -> ReadInputs:
        if not request.inputs:
            raise InvalidRequestError("input is empty; at least one text is needed.", param="input")
        name = request.prompt_name
        prompt = self._prompt_for(request.input_type) if name is None else self._named_prompt(name)
        return self._read(request, prompt)

    def for_comparing(self, request: ScoreRequest) -> ComparedTexts:
        """For a model that makes vectors: the first texts as queries, the second ones as documents."""
        texts: dict[str, int] = {}
        query, document = self._prompt_for("query"), self._prompt_for("document")

        def place(prompt: str, given: str) -> int:
            return texts.setdefault(self._text(prompt, given), len(texts))

        pairs = tuple((place(query, first), place(document, second)) for first, second in _checked(request))
        cut: list[str] = []
        inputs = self._encode(request, list(texts), range(len(texts)), "text {}", cut)
        return ComparedTexts(inputs, self._cut_warning(request, cut), pairs)

    def for_scores(self, request: ScoreRequest) -> ReadInputs:
        """For a model that reads both texts together."""
        pairs = _checked(request)
        cut: list[str] = []
        inputs = self._encode(request, pairs, range(len(pairs)), "pair {}", cut)
        return ReadInputs(inputs, self._cut_warning(request, cut))

    def for_classes(self, request: ClassifyRequest) -> ReadInputs:
        if not request.inputs:
            raise InvalidRequestError("input is empty; at least one text is needed.", param="input")
        return self._read(request, "")

    def _read(self, request: EmbedRequest | ClassifyRequest, prompt: str) -> ReadInputs:
        """Token ids beside texts and pairs of them, of which the latter are tokenised all at once."""
        texts: dict[int, Input] = {}
        ids: dict[int, tuple[int, ...]] = {}
        for index, given in enumerate(request.inputs):
            if isinstance(given, str):
                texts[index] = self._text(prompt, given)
            elif isinstance(given, TextPair):
                texts[index] = given
            else:
                ids[index] = given
        adds = request.add_special_tokens
        cut: list[str] = []
        encoded = self._encode(request, [*texts.values()], [*texts], "input[{}]", cut, add_special_tokens=adds)
        found = dict(zip(texts, encoded, strict=True))
        for index, token_ids in ids.items():
            found[index] = self._token_ids(request, token_ids, f"input[{index}]", cut)
        inputs = [found[index] for index in range(len(request.inputs))]
        return ReadInputs(inputs, (*self._strange_ids(ids.values()), *self._cut_warning(request, cut)))

    # --- prompts --------------------------------------------------------------------------------------

    def _named_prompt(self, name: str) -> str:
        prompts = self._traits.prompts
        if name not in prompts:
            there = f"It has {', '.join(sorted(prompts))}." if prompts else "It has none."
            raise InvalidRequestError(f"The model has no prompt {name[:40]!r}. {there}", param="prompt_name")
        return prompts[name]

    def _prompt_for(self, input_type: InputType | None) -> str:
        prompts = self._traits.prompts
        names = () if input_type is None else _PROMPT_NAMES[input_type]
        found = next((name for name in names if name in prompts), self._traits.default_prompt_name)
        return prompts[found] if found is not None else ""

    def _text(self, prompt: str, given: str) -> str:
        text = prompt + given
        return text.lower() if self._traits.is_lowercased else text

    # --- tokens ---------------------------------------------------------------------------------------

    def _encode(
        self,
        request: PoolingRequest,
        given: Sequence[Input],
        positions: Sequence[int],
        name: str,
        cut: list[str],
        *,
        add_special_tokens: bool = True,
    ) -> list[PoolingInput]:
        """`name`, with a position in it, is what messages call one of them; those that were cut are added to `cut`."""
        limit = self._limit(request)
        encoded = self._tokenizer.encode_inputs(given, add_special_tokens=add_special_tokens)
        for index, item in enumerate(encoded):
            where = name.format(positions[index])
            if not item.token_ids:
                raise InvalidRequestError(f"{where} has no tokens; it must have at least one.", param="input")
            if len(item.token_ids) <= limit:
                continue
            if request.truncate_prompt_tokens is None:
                raise self._too_long(where, len(item.token_ids))
            cut.append(where)
            encoded[index] = self._tokenizer.encode_cut(
                given[index], limit, request.truncation_side, add_special_tokens=add_special_tokens
            )
        return [self._input(item) for item in encoded]

    def _token_ids(self, request: PoolingRequest, given: tuple[int, ...], where: str, cut: list[str]) -> PoolingInput:
        """Taken as they are."""
        if not given:
            raise InvalidRequestError(f"{where} has no tokens; it must have at least one.", param="input")
        outside = [token_id for token_id in given if not 0 <= token_id < self._vocab_size]
        if outside:
            raise InvalidRequestError(
                f"{where} holds the token id {outside[0]}, but this model's vocabulary ends at {self._vocab_size - 1}. "
                "Token ids must come of this model's own tokenizer: send text, unless you have it.",
                param="input",
            )
        limit = self._limit(request)
        if len(given) > limit:
            if request.truncate_prompt_tokens is None:
                raise self._too_long(where, len(given))
            cut.append(where)
            given = given[:limit] if request.truncation_side == "right" else given[-limit:]
        return PoolingInput(given)

    def _limit(self, request: PoolingRequest) -> int:
        asked = request.truncate_prompt_tokens
        if asked is None or asked == -1:
            return self._max_model_len
        if not 1 <= asked <= self._max_model_len:
            raise InvalidRequestError(
                f"truncate_prompt_tokens is {asked}; it must be between 1 and this model's context length, "
                f"{self._max_model_len}, or -1 for the latter.",
                param="truncate_prompt_tokens",
            )
        return asked

    def _too_long(self, where: str, num_tokens: int) -> ContextLengthError:
        return ContextLengthError(
            f"This model's context length is {self._max_model_len} tokens, and {where} has {num_tokens}. Shorten it, "
            "or let it be cut with truncate_prompt_tokens: -1.",
            param="input",
        )

    def _input(self, encoded: EncodedInput) -> PoolingInput:
        types = encoded.token_type_ids
        needs_types = self._num_token_types > 1 and any(types)
        return PoolingInput(tuple(encoded.token_ids), tuple(types) if needs_types else None)

    def _strange_ids(self, given: Iterable[tuple[int, ...]]) -> tuple[str, ...]:
        """Other tokenizers' ids that happen to be in the vocabulary give vectors of nonsense: this is how it shows."""
        first = self._first_token_id
        if first is None or all(ids[0] == first for ids in given):
            return ()
        name = self._tokenizer.token_name(first)
        return (f"Token ids don't begin with {name} ({first}), as this model's texts do; they were used as they are.",)

    def _cut_warning(self, request: PoolingRequest, cut: Sequence[str]) -> tuple[str, ...]:
        if not cut:
            return ()
        what = cut[0] if len(cut) == 1 else f"{cut[0]} and {len(cut) - 1} more"
        return (f"Cut to {self._limit(request)} tokens, as truncate_prompt_tokens asks: {what}.",)


def num_given_characters(inputs: Iterable[str | tuple[int, ...] | TextPair]) -> int:
    """How much there is to read; a token id counts as one."""
    return sum(len(given.first) + len(given.second) if isinstance(given, TextPair) else len(given) for given in inputs)


def _first_special_token(tokenizer: Tokenizer) -> int | None:
    """The token that is put before every text, where the model has one."""
    framed, bare = tokenizer.encode("a"), tokenizer.encode("a", add_special_tokens=False)
    return framed[0] if framed[: len(bare)] != bare else None


def _checked(request: ScoreRequest) -> tuple[tuple[str, str], ...]:
    if not request.pairs:
        raise InvalidRequestError("There is nothing to score; at least one pair of texts is needed.")
    return request.pairs
