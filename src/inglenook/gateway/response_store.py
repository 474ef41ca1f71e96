"""Responses that were answered, kept so that later ones can go on from them.

Methods block, and may be called from any thread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inglenook.config import ServerSettings
from inglenook.errors import NotFoundError
from inglenook.gateway.response_file import ResponseFile

if TYPE_CHECKING:
    import sqlite3  # the first request that needs it imports it: no start should wait for it

MAX_CHAIN = 10_000  # responses that go on from each other
_PRUNE_EVERY = 16  # responses kept between two looks at what is too old or too much
_DAY_S = 86_400

_CHAIN = """
WITH RECURSIVE chain (depth, number, previous_id) AS (
    SELECT 0, number, previous_id FROM responses WHERE id = :id AND owner = :owner
    UNION ALL
    SELECT depth + 1, r.number, r.previous_id FROM chain JOIN responses r ON r.id = chain.previous_id
    WHERE r.owner = :owner AND depth < :limit
)
"""


@dataclass(frozen=True)
class StoredResponse:
    """`body` is the Response's JSON, `input` that of the list of its own input items."""

    id: str
    previous_id: str | None
    status: str
    used_at: float  # Unix time, s
    body: bytes
    input: bytes


def open_store(settings: ServerSettings, home: Path) -> ResponseStore:
    """The store that the settings ask for. Its file is opened when something is kept."""
    name = settings.response_store
    path = None if name == "off" else home / "responses.sqlite" if name is None else Path(name).expanduser().absolute()
    return ResponseStore(path, max_days=settings.response_store_days, max_bytes=settings.response_store_mib << 20)


class ResponseStore:
    """`owner` is whoever's API key it was: nobody sees another owner's responses. `path` None: nothing is kept."""

    def __init__(self, path: Path | None, *, max_days: float = 30.0, max_bytes: int = 1 << 30) -> None:
        self._file = ResponseFile(path, max_age_s=max_days * _DAY_S, max_bytes=max_bytes)
        self._num_kept = 0

    @property
    def is_on(self) -> bool:
        return self._file.path is not None

    def check(self) -> None:
        """Raise StorageError where nothing can be kept; InvalidRequestError where nothing is."""
        with self._file.write():
            pass

    def keep(self, response: StoredResponse, owner: str, item_ids: Sequence[str]) -> None:
        """`item_ids` are those of its input and its output. Those that it went on from count as used, too."""
        with self._file.write() as connection:
            number = connection.execute(
                "INSERT INTO responses (id, owner, previous_id, status, used_at, body, input) VALUES (?,?,?,?,?,?,?)",
                (
                    response.id,
                    owner,
                    response.previous_id,
                    response.status,
                    response.used_at,
                    response.body,
                    response.input,
                ),
            ).lastrowid
            _add_items(connection, number, item_ids)
            values = {"id": response.id, "owner": owner, "limit": MAX_CHAIN, "used_at": response.used_at}
            connection.execute(
                f"{_CHAIN} UPDATE responses SET used_at = :used_at WHERE number IN (SELECT number FROM chain)", values
            )
            self._num_kept += 1
            if self._num_kept % _PRUNE_EVERY == 1:
                self._file.prune(connection)

    def get(self, response_id: str, owner: str) -> StoredResponse:
        """Raises NotFoundError."""
        with self._file.read() as connection:
            found = _rows(connection, "WHERE id = ? AND owner = ?", (response_id, owner))
        if not found:
            raise _not_found(response_id)
        return found[0]

    def chain(self, response_id: str, owner: str) -> list[StoredResponse]:
        """The response and those that it went on from, oldest first.

        Raises NotFoundError where one of them isn't there.
        """
        values = {"id": response_id, "owner": owner, "limit": MAX_CHAIN}
        with self._file.read() as connection:
            numbers = connection.execute(f"{_CHAIN} SELECT number FROM chain ORDER BY depth DESC", values).fetchall()
            found = {row.id: row for (number,) in numbers for row in _rows(connection, "WHERE number = ?", (number,))}
        if response_id not in found:
            raise _not_found(response_id)
        first = next(iter(found.values()))
        if first.previous_id is not None:
            raise NotFoundError(
                f"The response {response_id[:80]!r} goes on from {first.previous_id[:80]!r}, which is gone.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        return list(found.values())

    def with_item(self, item_id: str, owner: str) -> StoredResponse | None:
        """The latest response that has this item among its input or its output."""
        condition = "WHERE owner = ? AND number IN (SELECT number FROM items WHERE id = ?) ORDER BY number DESC LIMIT 1"
        with self._file.read() as connection:
            found = _rows(connection, condition, (owner, item_id))
        return found[0] if found else None

    def delete(self, response_id: str, owner: str) -> None:
        """Raises NotFoundError."""
        with self._file.write() as connection:
            num = connection.execute("DELETE FROM responses WHERE id = ? AND owner = ?", (response_id, owner)).rowcount
        if num == 0:
            raise _not_found(response_id)

    # --- responses that run on without a client -----------------------------------------------------

    def beat(self, response_id: str, owner: str) -> bool:
        """Say that the response is being worked on. False: it was cancelled, or deleted."""
        with self._file.write() as connection:
            return _update(connection, response_id, owner, "used_at = ?", (time.time(),))

    def end(self, response_id: str, owner: str, status: str, body: bytes, item_ids: Sequence[str] = ()) -> bool:
        """End a response in progress; `item_ids` are those of its output. False where it has ended already."""
        with self._file.write() as connection:
            what, values = "used_at = ?, status = ?, body = ?", (time.time(), status, body)
            has_ended = _update(connection, response_id, owner, what, values)
            if has_ended:
                (number,) = connection.execute("SELECT number FROM responses WHERE id = ?", (response_id,)).fetchone()
                _add_items(connection, number, item_ids)
            return has_ended

    def close(self) -> None:
        self._file.close()


def _rows(connection: sqlite3.Connection, condition: str, values: tuple[object, ...]) -> list[StoredResponse]:
    columns = "id, previous_id, status, used_at, body, input"
    return [StoredResponse(*row) for row in connection.execute(f"SELECT {columns} FROM responses {condition}", values)]


def _add_items(connection: sqlite3.Connection, number: int | None, item_ids: Sequence[str]) -> None:
    connection.executemany("INSERT OR IGNORE INTO items VALUES (?, ?)", [(item_id, number) for item_id in item_ids])


def _update(
    connection: sqlite3.Connection, response_id: str, owner: str, what: str, values: tuple[object, ...]
) -> bool:
    """Of a response in progress; False where there is none."""
    cursor = connection.execute(
        f"UPDATE responses SET {what} WHERE id = ? AND owner = ? AND status = 'in_progress'",
        (*values, response_id, owner),
    )
    return cursor.rowcount > 0


def _not_found(response_id: str) -> NotFoundError:
    return NotFoundError(f"There is no response {response_id[:80]!r}.", param="response_id", code="response_not_found")
