"""A ledger's file: SQLite, on disk at the end of every transaction, in a schema that is checked."""

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from fedloom.client.ledger.chain import Signed
from fedloom.client.ledger.transaction import Transaction
from fedloom.shared.errors import LedgerError
from fedloom.shared.files import OWNER_ONLY, check_owner_only, sync_folder

logger = logging.getLogger("fedloom.site")

_MOST_SAID = 120
# Each use of the ledger waits that long for a reader that is in the way of emptying the log.
_WAIT_FOR_READERS = 200
_IN_THE_WAY = (
    "%s: another program reads it, so a key that was overwritten may still be in %s; tried again "
    "at the next use"
)
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
# Durable at each commit, and what is deleted is overwritten.
_SETTINGS = (("journal_mode", "WAL", "wal"), ("synchronous", "FULL", 2), ("secure_delete", "ON", 1))


class LedgerStore:
    """One file that only its owner can read.

    Guarantee: what a transaction overwrites, a key above all, is gone from the file and from
    the log beside it once the transaction ends; or, where another reader is in the way, once
    the ledger is next used without one, and meanwhile the site's log says so.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # SQLite lets the unlucky one of many wait until it gives up.
        self._one_at_a_time = threading.Lock()

    def create(self, opening: Signed) -> None:
        """Make the file, with its first entry: there whole or not at all."""
        draft = self._path.with_suffix(".draft")
        for left in self._path.parent.glob(f"{draft.name}*"):
            left.unlink()
        # SQLite gives the files beside it the mode of this one.
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, OWNER_ONLY))
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
        with self._one_at_a_time, _connected(self._path) as connection:
            # A reader, or a crash, may have been in the way of the last use.
            if self._left_in_log:
                _empty_log(connection)
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("SELECT sql FROM sqlite_master").fetchall() != _schema():
                raise LedgerError(f"{self._path}: another schema, expected a FedLoom ledger's")
            yield Transaction(connection)
            connection.execute("COMMIT")
            if not _empty_log(connection):
                logger.warning(_IN_THE_WAY, self._path, self._log.name)

    @property
    def _log(self) -> Path:
        return self._path.with_name(f"{self._path.name}-wal")

    @property
    def _left_in_log(self) -> bool:
        try:
            return self._log.stat().st_size > 0
        except FileNotFoundError:
            return False


def _empty_log(connection: sqlite3.Connection) -> bool:
    """Have pages that were overwritten live on nowhere; whether no reader was in the way."""
    before = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    connection.execute(f"PRAGMA busy_timeout = {_WAIT_FOR_READERS}")
    in_the_way, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {before}")
    return not in_the_way


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
