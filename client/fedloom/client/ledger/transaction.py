"""What a transaction of a ledger's file reads and writes."""

import sqlite3

from fedloom.client.ledger.chain import Signed
from fedloom.shared.errors import LedgerError

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
