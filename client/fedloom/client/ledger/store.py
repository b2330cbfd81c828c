"""A ledger's file: SQLite, on disk at the end of every transaction, in a schema that is checked."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from fedloom.client.ledger.chain import Signed
from fedloom.shared.errors import LedgerError
from fedloom.shared.files import check_owner_only, sync_folder

_OWNER_ONLY = 0o600
_MOST_SAID = 120
_SCHEMA = """
CREATE TABLE entries (number INTEGER PRIMARY KEY, body BLOB NOT NULL, signature TEXT NOT NULL);
CREATE TABLE sealed (task TEXT PRIMARY KEY, header TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE draw_keys (task TEXT PRIMARY KEY, key BLOB NOT NULL);
CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'a ledger is only appended to'); END;
CREATE TRIGGER entries_remain BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'a ledger is only appended to'); END;
CREATE TRIGGER entries_follow BEFORE INSERT ON entries
    WHEN NEW.number != (SELECT coalesce(max(number), 0) + 1 FROM entries)
    BEGIN SELECT RAISE(ABORT, 'a ledger is only appended to'); END;
"""
# Whatever an altered file holds comes as bytes and text, for the checks to refuse.
_ALL = """
SELECT number, coalesce(CAST(body AS BLOB), x''), coalesce(CAST(signature AS TEXT), '')
FROM entries ORDER BY number
"""
_UPDATE = """
SELECT coalesce(CAST(header AS TEXT), ''), coalesce(CAST(payload AS BLOB), x'')
FROM sealed WHERE task = ?
"""
_KEY = "SELECT coalesce(CAST(key AS BLOB), x'') FROM draw_keys WHERE task = ?"
# Durable at each commit, and what is deleted is overwritten.
_SETTINGS = (("journal_mode", "WAL", "wal"), ("synchronous", "FULL", 2), ("secure_delete", "ON", 1))


class Transaction:
    """What happens together or not at all."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def entries(self) -> list[Signed]:
        """All entries, the oldest first.

        Raises:
            LedgerError: they are not numbered one after the other.
        """
        rows = self._connection.execute(_ALL).fetchall()
        for wanted, (number, *_) in enumerate(rows, start=1):
            if number != wanted:
                raise LedgerError(f"ledger: entry {wanted} does not follow the one before")
        return [Signed(body=body, signature=signature) for _, body, signature in rows]

    def append(self, number: int, signed: Signed) -> None:
        """Put an entry at the end, and see it there.

        Raises:
            LedgerError: it is not there.
        """
        row = (number, signed.body, signed.signature)
        self._connection.execute("INSERT INTO entries VALUES (?, ?, ?)", row)
        if self.entries()[-1:] != [signed]:
            raise LedgerError(f"ledger: entry {number} was not written")

    def sealed(self, task: str) -> tuple[str, bytes] | None:
        """Header and payload of the update that a task was answered with."""
        found: tuple[str, bytes] | None = self._connection.execute(_UPDATE, (task,)).fetchone()
        return found

    def seal(self, task: str, header: str, payload: bytes) -> None:
        """Keep an update."""
        self._connection.execute("INSERT INTO sealed VALUES (?, ?, ?)", (task, header, payload))

    def draw_key(self, task: str) -> bytes | None:
        """The key of all that a reserved task draws."""
        row: tuple[bytes] | None = self._connection.execute(_KEY, (task,)).fetchone()
        return None if row is None else row[0]

    def keep_draw_key(self, task: str, key: bytes) -> None:
        """Keep the key until the task's update is sealed."""
        self._connection.execute("INSERT INTO draw_keys VALUES (?, ?)", (task, key))

    def forget_draw_key(self, task: str) -> None:
        """Delete it, and overwrite it in the file."""
        self._connection.execute("DELETE FROM draw_keys WHERE task = ?", (task,))


class LedgerStore:
    """One file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(self, opening: Signed) -> None:
        """Make the file, with its first entry: there whole or not at all."""
        draft = self._path.with_suffix(".draft")
        for left in self._path.parent.glob(f"{draft.name}*"):
            left.unlink()
        # SQLite gives the files beside it the mode of this one.
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, _OWNER_ONLY))
        with _connected(draft) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _statements():
                connection.execute(statement)
            Transaction(connection).append(1, opening)
            connection.execute("COMMIT")
        draft.rename(self._path)
        sync_folder(self._path.parent)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Everything in the block is on disk when it ends, or nothing is if it fails.

        Raises:
            LedgerError: the file is not there, damaged, no ledger, or cannot be written now.
        """
        if not self._path.is_file():
            raise LedgerError(f"{self._path}: no such file, expected the site's ledger")
        check_owner_only(self._path)
        with _connected(self._path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("SELECT sql FROM sqlite_master").fetchall() != _schema():
                raise LedgerError(f"{self._path}: another schema, expected a FedLoom ledger's")
            yield Transaction(connection)
            connection.execute("COMMIT")
            # Pages that were overwritten must not live on in the log beside the file.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            # What is no UTF-8 is text that is not as it was, for the checks to refuse.
            connection.text_factory = _text
            for name, wanted, told in _SETTINGS:
                connection.execute(f"PRAGMA {name} = {wanted}")
                if connection.execute(f"PRAGMA {name}").fetchone() != (told,):
                    raise LedgerError(f"{path}: {name} cannot be {wanted} here")
            yield connection
    except sqlite3.OperationalError as error:
        raise LedgerError(f"{path}: cannot be used now ({_said(error)}); try again") from error
    # SQLite quotes a damaged file in its own words, which then need be no text at all.
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise LedgerError(f"{path}: damaged ({_said(error)}), expected a FedLoom ledger") from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:_MOST_SAID]


def _text(content: bytes) -> str:
    return content.decode(errors="replace")


def _statements() -> list[str]:
    statements, held = [], ""
    for line in _SCHEMA.strip().splitlines():
        held += line + "\n"
        if sqlite3.complete_statement(held):
            statements.append(held.strip().removesuffix(";"))
            held = ""
    return statements


@cache
def _schema() -> list[tuple[str | None]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in _statements():
            connection.execute(statement)
        return connection.execute("SELECT sql FROM sqlite_master").fetchall()
