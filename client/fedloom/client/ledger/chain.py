"""The check that a ledger is whole: every entry follows the one before, and the site signed it."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from fedloom.client.ledger.entries import BEGINNING, Entry, digest_of
from fedloom.shared.errors import LedgerError
from fedloom.shared.signing import is_signed


@dataclass(frozen=True, kw_only=True)
class Signed:
    """An entry's bytes as they are kept, and the signature of their digest, in hex."""

    body: bytes
    signature: str

    @property
    def digest(self) -> str:
        """What the signature covers, and what the next entry names."""
        return digest_of(self.body)


def read_chain(kept: Iterable[Signed], public: str) -> list[Entry]:
    """All entries of a ledger.

    Guarantee: none was changed, put in, moved or taken out since the holder of the key `public`
    signed them, but for entries missing at the end, which only a remembered head can tell.

    Raises:
        LedgerError: naming the first entry that is not so.
    """
    entries: list[Entry] = []
    previous = BEGINNING
    for number, signed in enumerate(kept, start=1):
        entry = _parsed(signed, number)
        if entry.number != number or entry.previous != previous:
            raise LedgerError(f"ledger: entry {number} does not follow the one before")
        if not is_signed(signed.digest, signed.signature, public):
            raise LedgerError(f"ledger: entry {number} is not signed by the site's key")
        previous = signed.digest
        entries.append(entry)
    return entries


def _parsed(signed: Signed, number: int) -> Entry:
    try:
        entry = Entry.model_validate_json(signed.body)
    except ValidationError as error:
        raise LedgerError(f"ledger: entry {number} is damaged") from error
    if entry.canonical() != signed.body:
        raise LedgerError(f"ledger: entry {number} is not in its one byte form")
    return entry
