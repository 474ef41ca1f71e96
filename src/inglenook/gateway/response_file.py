"""The SQLite file that keeps responses: opened when it is first needed, one transaction at a time, kept to a size.

Several servers may share it. Methods block, and may be called from any thread.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from inglenook.errors import InvalidRequestError, StorageError

if TYPE_CHECKING:
    import sqlite3  # the first request that needs it imports it: no start should wait for it

_SCHEMA_VERSION = 1
_BUSY_TIMEOUT_S = 10.0
_PRUNED_TO = 0.9  # of the largest size, where the file is above it

_SCHEMA = """
CREATE TABLE responses (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    previous_id TEXT,
    status TEXT NOT NULL,
    used_at REAL NOT NULL,
    body BLOB NOT NULL,
    input BLOB NOT NULL
);
CREATE INDEX by_use ON responses (used_at, number DESC);
CREATE TABLE items (
    id TEXT NOT NULL,
    number INTEGER NOT NULL REFERENCES responses (number) ON DELETE CASCADE,
    PRIMARY KEY (id, number)
) WITHOUT ROWID;
CREATE INDEX items_of ON items (number);
"""


class ResponseFile:
    """`path` None: there is none, and whoever needs it gets an InvalidRequestError."""

    def __init__(self, path: Path | None, *, max_age_s: float, max_bytes: int) -> None:
        self.path = path
        self._max_age_s = max_age_s
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is kept, or nothing."""
        with self.read() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Raises StorageError where the file can't be used, as `write` does."""
        import sqlite3

        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._open()
                yield self._connection
            except (sqlite3.Error, OSError) as error:
                raise StorageError(
                    f"The file that keeps responses can't be used ({_reason(error)}). Requests with store: false and "
                    "without previous_response_id don't need it; --response-store names another one."
                ) from error

    def _open(self) -> sqlite3.Connection:
        if self.path is None:
            raise InvalidRequestError(
                "This server keeps no responses (it runs with --response-store off): send the whole input each time, "
                "with store: false.",
                param="store",
            )
        import sqlite3

        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)  # what users said
        connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}")
            _make_tables(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def prune(self, connection: sqlite3.Connection) -> None:
        """What went on from another response is as old as that one or younger, and goes before it."""
        connection.execute("DELETE FROM responses WHERE used_at < ?", (time.time() - self._max_age_s,))
        pages = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count")}
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
        size = (pages["page_count"] - pages["freelist_count"]) * page_size
        if size > self._max_bytes:
            (count,) = connection.execute("SELECT count(*) FROM responses").fetchone()
            connection.execute(
                "DELETE FROM responses WHERE number IN "
                "(SELECT number FROM responses ORDER BY used_at, number DESC LIMIT ?)",
                (1 + int(count * (1 - _PRUNED_TO * self._max_bytes / size)),),
            )

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")  # of several servers that start on a new file, one makes it
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    connection.execute("COMMIT")
    if version not in (0, _SCHEMA_VERSION):
        raise OSError(errno.EINVAL, "another version of this program made it")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)
