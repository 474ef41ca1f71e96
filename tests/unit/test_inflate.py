"""Compressed bodies: every form of them, and none beyond the limit."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.errors import InvalidRequestError
from inglenook.server.inflate import inflater_of


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


FORMS = [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw_deflate)]


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
    body = gzip.compress(b"one ") + gzip.compress(b"two")
    assert inflate("gzip", body) == b"one two"
    assert inflate("gzip", body, 6) is None


@pytest.mark.parametrize(("encoding", "compress"), FORMS)
def test_damage(encoding: str, compress: object) -> None:
    body = compress(b"some words " * 20)  # type: ignore[operator]
    for broken in (body[:-5], body + b"rest", b"{}"):
        with pytest.raises(InvalidRequestError, match=encoding.removeprefix("x-")):
            inflate(encoding, broken)


def test_a_bomb_is_given_up_at_the_limit() -> None:
    assert inflate("gzip", gzip.compress(bytes(50_000_000)), 1000) is None


def test_zstd_where_python_has_it() -> None:
    zstd = pytest.importorskip("compression.zstd")
    assert inflate("zstd", zstd.compress(b"words")) == b"words"
    assert inflate("zstd", zstd.compress(b"words"), 4) is None


def test_unknown() -> None:
    assert inflater_of("br") is inflater_of("gzip, gzip") is None
