"""The check that a ledger is whole: every entry follows the one before, and the site signed it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from fedloom.client.ledger.entries import Entry, Opening, digest_of
from fedloom.client.ledger.story import Story
from fedloom.shared.errors import LedgerError
from fedloom.shared.signing import is_signed

_Parsed = TypeVar("_Parsed", Opening, Entry)


@dataclass(frozen=True, kw_only=True)
class Signed:
    """An entry's bytes as they are kept, and the signature of their digest, in hex."""

    body: bytes
    signature: str

    @property
    def digest(self) -> str:
        """What the signature covers, and what the next entry names."""
        return digest_of(self.body)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A ledger that was found whole: whose it is, its charges' events, and its last digest."""

    opening: Opening
    entries: tuple[Entry, ...]
    head: Signed
    story: Story

    @property
    def length(self) -> int:
        """How many entries there are, the opening included."""
        return 1 + len(self.entries)


def read_chain(kept: Sequence[Signed], public: str) -> Chain:
    """All entries of a ledger.

    Guarantee: none was changed, put in, moved or taken out since the holder of the key `public`
    signed them, but for entries missing at the end, which only a remembered head can tell; and
    they make sense one after the other, as `Story` says.

    Raises:
        LedgerError: naming the first entry that is not so.
    """
    if not kept:
        raise LedgerError("ledger: no entry at all, expected at least the one that opened it")
    opening = _parsed(Opening, kept[0], 1)
    if opening.public_key != public:
        raise LedgerError("ledger: entry 1 is not signed by the site's key")
    _check_signed(kept[0], 1, public)
    entries, story, previous = [], Story(), kept[0].digest
    for number, signed in enumerate(kept[1:], start=2):
        entry = _parsed(Entry, signed, number)
        if entry.number != number or entry.previous != previous:
            raise LedgerError(f"ledger: entry {number} does not follow the one before")
        _check_signed(signed, number, public)
        story.add(entry)
        previous = signed.digest
        entries.append(entry)
    return Chain(opening=opening, entries=tuple(entries), head=kept[-1], story=story)


def _check_signed(signed: Signed, number: int, public: str) -> None:
    if not is_signed(signed.digest, signed.signature, public):
        raise LedgerError(f"ledger: entry {number} is not signed by the site's key")


def _parsed(kind: type[_Parsed], signed: Signed, number: int) -> _Parsed:
    try:
        entry = kind.model_validate_json(signed.body)
    except ValidationError as error:
        raise LedgerError(f"ledger: entry {number} is damaged") from error
    if entry.canonical() != signed.body:
        raise LedgerError(f"ledger: entry {number} is not in its one byte form")
    return entry
