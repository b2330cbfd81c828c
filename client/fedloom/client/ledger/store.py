"""A ledger's file: SQLite, synced at every transaction, with nothing in it that can be changed."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from fedloom.client.ledger.chain import Signed
from fedloom.shared.errors import LedgerError

_OWNER_ONLY = 0o600
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY, body BLOB NOT NULL, signature TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS sealed (task TEXT PRIMARY KEY, header TEXT NOT NULL, payload BLOB);
CREATE TABLE IF NOT EXISTS draw_keys (task TEXT PRIMARY KEY, key BLOB NOT NULL);
CREATE TRIGGER IF NOT EXISTS entries_stay BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'a ledger is only appended to'); END;
CREATE TRIGGER IF NOT EXISTS entries_remain BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'a ledger is only appended to'); END;
"""
# Whatever an altered file holds comes as bytes and text, for the checks to refuse.
_ALL = """
SELECT coalesce(CAST(body AS BLOB), x''), coalesce(CAST(signature AS TEXT), '')
FROM entries ORDER BY number
"""
_UPDATE = """
SELECT coalesce(CAST(header AS TEXT), ''), coalesce(CAST(payload AS BLOB), x'')
FROM sealed WHERE task = ?
"""


class Transaction:
    """What happens together or not at all."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def entries(self) -> list[Signed]:
        """All entries, the oldest first."""
        rows = self._connection.execute(_ALL)
        return [Signed(body=body, signature=signature) for body, signature in rows]

    def append(self, number: int, signed: Signed) -> None:
        """Put an entry at the end."""
        row = (number, signed.body, signed.signature)
        self._connection.execute("INSERT INTO entries VALUES (?, ?, ?)", row)

    def sealed(self, task: str) -> tuple[str, bytes] | None:
        """Header and payload of the update that a task was answered with."""
        found: tuple[str, bytes] | None = self._connection.execute(_UPDATE, (task,)).fetchone()
        return found

    def seal(self, task: str, header: str, payload: bytes) -> None:
        """Keep an update."""
        self._connection.execute("INSERT INTO sealed VALUES (?, ?, ?)", (task, header, payload))

    def draw_key(self, task: str) -> bytes | None:
        """The key of all that a reserved task draws."""
        found = self._connection.execute("SELECT key FROM draw_keys WHERE task = ?", (task,))
        row = found.fetchone()
        return None if row is None else bytes(row[0])

    def keep_draw_key(self, task: str, key: bytes) -> None:
        """Keep the key until the task's update is sealed."""
        self._connection.execute("INSERT INTO draw_keys VALUES (?, ?)", (task, key))

    def forget_draw_key(self, task: str) -> None:
        """Overwrite it with zeros in the file."""
        self._connection.execute("DELETE FROM draw_keys WHERE task = ?", (task,))


class LedgerStore:
    """One file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Everything in the block is on disk when it ends, or nothing is if it fails.

        Raises:
            LedgerError: the file is damaged, or no ledger.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite gives the files beside it the mode of this one.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, _OWNER_ONLY))
        try:
            with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
                _prepare(connection)
                connection.execute("BEGIN IMMEDIATE")
                yield Transaction(connection)
                connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise LedgerError(f"{self._path}: damaged, expected a FedLoom ledger") from error


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.executescript(_SCHEMA)
