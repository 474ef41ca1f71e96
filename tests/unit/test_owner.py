"""Whose what a request keeps is."""

from __future__ import annotations

from inglenook.server.auth import owner_of

BEARER, OTHER = [(b"authorization", b"Bearer secret")], [(b"x-api-key", b"other")]


def test_by_key() -> None:
    keys = ("secret", "other")
    assert owner_of(BEARER, keys) == owner_of([(b"x-api-key", b"secret")], keys)
    assert owner_of(BEARER, keys) != owner_of(OTHER, keys)
    assert "secret" not in owner_of(BEARER, keys)


def test_everybody_without_keys() -> None:
    assert owner_of(BEARER, ()) == owner_of(OTHER, ()) == owner_of([], ()) == ""
