from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fixtures.vocabularies import byte_level_metadata, sentencepiece_metadata
from inglenook.text.detokenizer import Detokenizer
from inglenook.text.stream import TextPiece, TextStream
from inglenook.text.tokenizer import Tokenizer

BYTE_LEVEL = Tokenizer.from_gguf(byte_level_metadata())
SENTENCEPIECE = Tokenizer.from_gguf(sentencepiece_metadata())


def stream(stop: tuple[str, ...] = (), tokenizer: Tokenizer = BYTE_LEVEL, **options: int) -> TextStream:
    return TextStream(Detokenizer(tokenizer), stop, **options)


def run(text_stream: TextStream, ids: list[int]) -> list[TextPiece]:
    pieces = []
    for token_id in ids:
        piece = text_stream.push(token_id)
        if piece is not None:
            pieces.append(piece)
        if text_stream.is_stopped:
            return pieces
    return [*pieces, text_stream.flush()]


def tokens(*texts: str) -> list[int]:
    """One token for each byte of the texts."""
    single = {BYTE_LEVEL.token_bytes(token_id): token_id for token_id in range(BYTE_LEVEL.vocab_size)}
    return [single[bytes([byte])] for byte in "".join(texts).encode()]


def reference(
    tokenizer: Tokenizer, ids: list[int], stop: tuple[str, ...], include_stop: bool, min_tokens: int
) -> tuple[str, str | None]:
    """Decode ever more tokens, and cut at the first stop string that is complete."""
    text = tokenizer.decode(ids)
    num_exempt = len(text if min_tokens >= len(ids) else "".join(pieces(tokenizer, ids)[:min_tokens]))
    for end in range(num_exempt + 1, len(text) + 1):
        found = [one for one in stop if text[:end].endswith(one)]
        if found:
            longest = max(found, key=len)
            return (text[:end] if include_stop else text[: end - len(longest)]), longest
    return text, None


def pieces(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    detokenizer = Detokenizer(tokenizer)
    found = [detokenizer.push(token_id) for token_id in ids]
    return [*found, detokenizer.flush()]


short_texts = st.text(st.sampled_from("ab é\n😀"), max_size=12)


@settings(deadline=None)
@given(
    tokenizer=st.sampled_from([BYTE_LEVEL, SENTENCEPIECE]),
    parts=st.lists(short_texts | st.lists(st.integers(0, 720), max_size=3), max_size=8),
    stop=st.lists(st.text(st.sampled_from("ab é😀\ufffd"), min_size=1, max_size=4), max_size=4).map(tuple),
    include_stop=st.booleans(),
    min_tokens=st.integers(0, 6),
)
@example(BYTE_LEVEL, ["aab"], ("ab",), False, 0)
@example(BYTE_LEVEL, ["abab aba"], ("aba", "ba"), False, 3)
def test_any_split_gives_the_reference(
    tokenizer: Tokenizer,
    parts: list[str | list[int]],
    stop: tuple[str, ...],
    include_stop: bool,
    min_tokens: int,
) -> None:
    ids = [token_id for part in parts for token_id in (tokenizer.encode(part) if isinstance(part, str) else part)]
    found = run(TextStream(Detokenizer(tokenizer), stop, include_stop, min_tokens), ids)
    text, stop_reason = reference(tokenizer, ids, stop, include_stop, min_tokens)
    assert "".join(piece.text for piece in found) == text
    assert [piece.stop_reason for piece in found[:-1]] == [None] * (len(found) - 1)
    assert (found[-1].stop_reason if found else None) == stop_reason


@settings(deadline=None)
@given(parts=st.lists(short_texts, max_size=8), stop=st.lists(st.text("ab é", min_size=1, max_size=4), max_size=3))
def test_every_token_is_counted_with_its_first_character(parts: list[str], stop: list[str]) -> None:
    ids = [token_id for part in parts for token_id in BYTE_LEVEL.encode(part)]
    found = run(stream(tuple(stop)), ids)
    texts = pieces(BYTE_LEVEL, ids)
    starts = [len("".join(texts[:index])) for index in range(len(ids))]
    num_characters = num_tokens = 0
    for piece in found:
        num_characters += len(piece.text)
        num_tokens += piece.num_tokens
        if piece is not found[-1]:
            assert num_tokens == sum(start < num_characters for start in starts)
    if found and found[-1].stop_reason is None:
        assert num_tokens == len(ids), "no token is lost"


def test_text_comes_at_once_without_stop_strings() -> None:
    text_stream = stream()
    assert [text_stream.push(token_id) for token_id in tokens("hi")] == [TextPiece("h", 1), TextPiece("i", 1)]
    assert text_stream.flush() == TextPiece("", 0)


def test_a_stop_string_never_leaks_its_beginning() -> None:
    text_stream = stream(("\nUser:",))
    found = [text_stream.push(token_id) for token_id in tokens("ok\nUs")]
    assert found == [TextPiece("o", 1), TextPiece("k", 1), None, None, None]
    released = text_stream.push(tokens("x")[0])
    assert released == TextPiece("\nUsx", 4), "released as soon as it can't be the stop string"
    for token_id in tokens("!\nUser"):
        text_stream.push(token_id)
    assert text_stream.push(tokens(":")[0]) == TextPiece("", 0, "\nUser:")
    assert text_stream.is_stopped
    assert text_stream.flush() == TextPiece("", 0)


def test_held_text_that_begins_the_stop_string_anew() -> None:
    found = run(stream(("aab",)), tokens("aaab"))
    assert "".join(piece.text for piece in found) == "a"
    assert found[-1].stop_reason == "aab"


def test_include_stop() -> None:
    found = run(stream(("STOP",), include_stop=True), tokens("go STOP on"))
    assert "".join(piece.text for piece in found) == "go STOP"
    assert found[-1] == TextPiece("STOP", 4, "STOP")


def test_stop_inside_one_token() -> None:
    """The token whose beginning is still text is counted; what follows the stop string in it is cut."""
    [token] = [token_id for token_id in BYTE_LEVEL.encode(" dog dog") if len(BYTE_LEVEL.token_text(token_id)) > 3][:1]
    text = BYTE_LEVEL.token_text(token)
    found = run(stream((text[2],)), [token])
    assert found == [TextPiece(text[:2], 1, text[2])]


def test_earliest_completed_stop_wins() -> None:
    found = run(stream(("cde", "bc", "abc")), tokens("xabcde"))
    assert "".join(piece.text for piece in found) == "x"
    assert found[-1].stop_reason == "abc", "of those complete at the same place the longest"


def test_min_tokens() -> None:
    found = run(stream((".",), min_tokens=2), tokens("a.b.c"))
    assert "".join(piece.text for piece in found) == "a.b", "the second token is still exempt"
    found = run(stream(("bc",), min_tokens=2), tokens("abcd"))
    assert "".join(piece.text for piece in found) == "a", "a stop string may begin before and end after"
    found = run(stream(("aba",), min_tokens=3), tokens("ababa"))
    assert "".join(piece.text for piece in found) == "ab", "or begin within one that didn't count"


def test_tokens_without_text_go_with_the_next_piece() -> None:
    text_stream = stream()
    special = BYTE_LEVEL.encode("<|im_start|>")[0]
    half, rest = tokens("é")
    [letter] = tokens("x")
    found = [text_stream.push(token_id) for token_id in (special, letter, half, rest, half)]
    assert found == [None, TextPiece("x", 2), None, TextPiece("é", 2), None]
    assert text_stream.flush() == TextPiece("\ufffd", 1)


def test_flush_counts_trailing_special_tokens() -> None:
    text_stream = stream()
    text_stream.push(BYTE_LEVEL.encode("<|im_end|>")[0])
    assert text_stream.flush() == TextPiece("", 1)
    assert text_stream.num_tokens == 1


def test_long_stop_strings_take_linear_time() -> None:
    """Every character looks at each stop string once; a repetitive one doesn't make that quadratic."""
    stop = "a" * 20_000 + "b"
    found = run(stream((stop,)), tokens("a" * 40_000))
    assert "".join(piece.text for piece in found) == "a" * 40_000


@pytest.mark.parametrize("stop", [("é",), ("😀",), ("\ufffd",)])
def test_stop_of_several_bytes(stop: tuple[str, ...]) -> None:
    ids = tokens("x", stop[0], "y")
    found = run(stream(stop), ids)
    assert "".join(piece.text for piece in found) == "x"
    assert found[-1].stop_reason == stop[0]


def test_broken_character_at_the_end_completes_a_stop_string() -> None:
    found = run(stream(("x\ufffd",)), tokens("axé")[:-1])
    assert "".join(piece.text for piece in found) == "a"
    assert found[-1].stop_reason == "x\ufffd"
