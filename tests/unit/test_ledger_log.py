"""That a key of draws, once overwritten, is in no file, whoever reads the ledger meanwhile."""

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedloom.client.ledger.entries import Charge, charge_of
from fedloom.client.ledger.ledger import Ledger
from fedloom.shared.errors import LedgerError
from fedloom.shared.wire.frame import Frame
from tests.support.ledgers import begun
from tests.support.plans import a_task

UPDATE = Frame(header="{}", payload=b"update")


class Reader:
    """Another program, such as a backup, that has the file open and reads."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)

    def begin(self) -> None:
        self._connection.execute("BEGIN")
        self._connection.execute("SELECT count(*) FROM entries").fetchone()

    def end(self) -> None:
        self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return begun(tmp_path / "state")


@pytest.fixture
def reader(ledger: Ledger, tmp_path: Path) -> Iterator[Reader]:
    with closing(Reader(tmp_path / "state" / "ledger.sqlite")) as reader:
        yield reader


def holding(folder: Path, key: bytes) -> list[str]:
    """The files that hold a key."""
    return [path.name for path in sorted(folder.iterdir()) if key in path.read_bytes()]


def sealed(ledger: Ledger) -> tuple[Charge, bytes]:
    """A task that was reserved and sealed; its key."""
    charge = charge_of(a_task())
    ledger.reserve(charge)
    key = ledger.draw_key(charge)
    ledger.seal(charge, UPDATE)
    return charge, key


def test_a_sealed_tasks_key_is_in_no_file(ledger: Ledger, tmp_path: Path) -> None:
    _, key = sealed(ledger)
    assert holding(tmp_path / "state", key) == []


def test_a_key_that_a_reader_keeps_in_the_log_goes_with_the_next_use(
    ledger: Ledger, reader: Reader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While it reads, its snapshot needs the pages that were overwritten since."""
    reader.begin()
    began = time.monotonic()
    with caplog.at_level(logging.WARNING, logger="fedloom.site"):
        _, key = sealed(ledger)
    assert time.monotonic() - began < 10, "a reader must not hold a round up"
    assert "ledger.sqlite-wal" in holding(tmp_path / "state", key)
    assert "another program reads it" in caplog.messages[-1]
    assert "ledger.sqlite-wal; tried again" in caplog.messages[-1]
    reader.end()
    caplog.clear()
    ledger.spent()
    assert holding(tmp_path / "state", key) == [] and not caplog.messages


def test_a_use_that_fails_also_empties_what_was_left(
    ledger: Ledger, reader: Reader, tmp_path: Path
) -> None:
    reader.begin()
    charge, key = sealed(ledger)
    reader.end()
    assert holding(tmp_path / "state", key)
    with pytest.raises(LedgerError, match="released already"):
        Ledger(tmp_path / "state").void(charge.task)
    assert holding(tmp_path / "state", key) == []
