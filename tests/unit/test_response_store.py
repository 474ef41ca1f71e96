"""The file of kept responses: conversations, owners, age and size, several servers, broken files."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inglenook.config import ServerSettings
from inglenook.errors import InvalidRequestError, NotFoundError, StorageError
from inglenook.gateway.response_store import ResponseStore, StoredResponse, open_store


def response(name: str, previous: str | None = None, *, status: str = "completed", age_s: float = 0) -> StoredResponse:
    return StoredResponse(name, previous, status, time.time() - age_s, f"body of {name}".encode(), b"[]")


@pytest.fixture
def store(tmp_path: Path) -> ResponseStore:
    return ResponseStore(tmp_path / "folder" / "responses.sqlite")


def test_nothing_is_made_before_it_is_needed(store: ResponseStore, tmp_path: Path) -> None:
    assert list(tmp_path.iterdir()) == []
    store.check()
    [path] = (tmp_path / "folder").glob("*.sqlite")
    assert path.stat().st_mode & 0o777 == 0o600


def test_kept_and_deleted(store: ResponseStore) -> None:
    kept = response("a")
    store.keep(kept, "me", ["i1", "i2"])
    assert store.get("a", "me") == kept
    assert store.with_item("i2", "me") == kept
    assert store.with_item("i3", "me") is None
    store.delete("a", "me")
    with pytest.raises(NotFoundError):
        store.get("a", "me")
    with pytest.raises(NotFoundError):
        store.delete("a", "me")
    assert store.with_item("i2", "me") is None


def test_owners_see_their_own(store: ResponseStore) -> None:
    store.keep(response("a"), "me", ["i"])
    assert store.with_item("i", "you") is None
    for look in (store.get, store.chain, store.delete):
        with pytest.raises(NotFoundError):
            look("a", "you")
    store.keep(response("b", "a"), "you", [])  # it can't go on from another's
    with pytest.raises(NotFoundError, match="goes on from 'a'"):
        store.chain("b", "you")


@given(parents=st.lists(st.integers(0, 100), max_size=25), reopen=st.booleans())
@settings(max_examples=25, deadline=None)
def test_conversations_branch(parents: list[int], reopen: bool) -> None:
    """Response i goes on from an earlier one, or begins: its chain is that of the one before, and itself."""
    with tempfile.TemporaryDirectory() as folder:
        store = ResponseStore(Path(folder) / "r.sqlite")
        chains: list[list[str]] = []
        for index, parent in enumerate(parents):
            before = chains[parent % index] if index and parent % 3 else []
            store.keep(response(f"r{index}", before[-1] if before else None), "", [])
            chains.append([*before, f"r{index}"])
        if reopen:
            store.close()
            store = ResponseStore(Path(folder) / "r.sqlite")
        for chain in chains:
            assert [found.id for found in store.chain(chain[-1], "")] == chain
        store.close()


def test_a_link_that_is_gone(store: ResponseStore) -> None:
    for name, previous in (("a", None), ("b", "a"), ("c", "b")):
        store.keep(response(name, previous), "", [])
    store.delete("a", "")
    with pytest.raises(NotFoundError) as caught:
        store.chain("c", "")
    assert caught.value.param == "previous_response_id"


def test_old_ones_go_unless_they_are_used(tmp_path: Path) -> None:
    store = ResponseStore(tmp_path / "r.sqlite", max_days=30)
    old = 40 * 86_400
    for name in ("lonely", "first", "second"):
        store.keep(response(name, "first" if name == "second" else None, age_s=old), "", ["item"])
    store.close()
    store = ResponseStore(tmp_path / "r.sqlite", max_days=30)
    store.keep(response("third", "second"), "", [])  # the first one kept by a server looks for old ones
    assert [found.id for found in store.chain("third", "")] == ["first", "second", "third"]
    with pytest.raises(NotFoundError):
        store.get("lonely", "")


def test_the_oldest_go_where_it_grows_too_large(tmp_path: Path) -> None:
    store = ResponseStore(tmp_path / "r.sqlite", max_bytes=1 << 20)
    body = os.urandom(10_000)
    for index in range(400):
        store.keep(StoredResponse(f"r{index}", None, "completed", time.time(), body, b"[]"), "", [])
    store.get("r399", "")
    with pytest.raises(NotFoundError):
        store.get("r0", "")
    store.close()
    assert (tmp_path / "r.sqlite").stat().st_size < 2 << 20


def test_one_in_progress_ends_once(store: ResponseStore) -> None:
    store.keep(response("a", status="in_progress", age_s=100), "me", [])
    before = store.get("a", "me").used_at
    assert store.beat("a", "me")
    assert store.get("a", "me").used_at > before
    assert not store.end("a", "you", "failed", b"x")
    assert store.end("a", "me", "completed", b"whole", ["out"])
    assert not store.end("a", "me", "cancelled", b"late")
    assert not store.beat("a", "me")
    assert (store.get("a", "me").status, store.get("a", "me").body) == ("completed", b"whole")
    assert store.with_item("out", "me") is not None


def test_several_servers_and_threads(tmp_path: Path) -> None:
    stores = [ResponseStore(tmp_path / "r.sqlite") for _ in range(3)]
    errors: list[Exception] = []

    def work(store: ResponseStore, number: int) -> None:
        try:
            for index in range(20):
                name = f"{number}-{index}"
                store.keep(response(name, f"{number}-{index - 1}" if index else None), "", [name])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(stores[number % 3], number)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert all(len(stores[0].chain(f"{number}-19", "")) == 20 for number in range(6))


@pytest.mark.parametrize("content", [b"this is no database" * 100, None])
def test_a_file_that_cannot_be_used(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "r.sqlite"
    path.mkdir() if content is None else path.write_bytes(content)
    store = ResponseStore(path)
    for look in (store.check, lambda: store.get("a", ""), lambda: store.keep(response("a"), "", [])):
        with pytest.raises(StorageError, match="store: false") as caught:
            look()
        assert str(tmp_path) not in caught.value.message
    path.rmdir() if content is None else path.unlink()
    store.check()  # once it is mended, it works


def test_a_file_of_another_version(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "r.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageError, match="another version"):
        ResponseStore(tmp_path / "r.sqlite").check()


def test_settings(tmp_path: Path) -> None:
    off = open_store(ServerSettings(response_store="off"), tmp_path)
    assert not off.is_on
    with pytest.raises(InvalidRequestError, match="--response-store off"):
        off.get("a", "")
    open_store(ServerSettings(), tmp_path).check()
    open_store(ServerSettings(response_store=str(tmp_path / "other")), tmp_path).check()
    assert {path.name for path in tmp_path.iterdir()} >= {"responses.sqlite", "other"}
