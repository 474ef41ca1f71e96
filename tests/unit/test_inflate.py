"""Compressed bodies: every form of them, and none beyond the limit."""

from __future__ import annotations

import gzip
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.errors import InvalidRequestError
from inglenook.server.inflate import inflater_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


FORMS = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("zstd", zstd.compress),
]


def inflate(encoding: str, body: bytes, max_bytes: int = 1000) -> bytes | None:
    inflater = inflater_of(encoding)
    assert inflater is not None
    return inflater(body, max_bytes)


@given(data=st.binary(max_size=300), form=st.sampled_from(FORMS), room=st.integers(-2, 2))
def test_back_and_forth_up_to_the_limit(data: bytes, form: tuple[str, object], room: int) -> None:
    encoding, compress = form
    body = compress(data)  # type: ignore[operator]
    assert inflate(encoding, body, max(0, len(data) + room)) == (None if room < 0 and data else data)


def test_members_one_after_another() -> None:
    for encoding, compress in FORMS:
        if encoding != "deflate":
            body = compress(b"one ") + compress(b"two")  # type: ignore[operator]
            assert inflate(encoding, body) == b"one two"
            assert inflate(encoding, body, 6) is None


@pytest.mark.parametrize(("encoding", "compress"), FORMS)
def test_damage(encoding: str, compress: object) -> None:
    body = compress(b"some words " * 20)  # type: ignore[operator]
    for broken in (body[:-5], body + b"rest", b"{}"):
        with pytest.raises(InvalidRequestError, match=encoding.removeprefix("x-")):
            inflate(encoding, broken)


def test_a_bomb_is_given_up_at_the_limit() -> None:
    assert inflate("gzip", gzip.compress(bytes(50_000_000)), 1000) is None
    assert inflate("zstd", zstd.compress(bytes(50_000_000)), 1000) is None


def test_a_zstd_window_beyond_what_http_allows() -> None:
    parameter = zstd.CompressionParameter
    body = zstd.compress(b"words", options={parameter.window_log: 25, parameter.enable_long_distance_matching: 1})
    assert inflate("zstd", body) == b"words"  # the size is in the frame: it takes no window
    frames = zstd.ZstdCompressor(options={parameter.window_log: 25})
    with pytest.raises(InvalidRequestError, match="zstd"):
        inflate("zstd", frames.compress(b"words") + frames.flush())


def test_unknown() -> None:
    assert inflater_of("br") is inflater_of("gzip, gzip") is None
