"""The head of a site's ledger: who remembers it can tell an older copy from the newest."""

import hashlib
from typing import Annotated, Literal

from pydantic import Field

from fedloom.shared.signing import is_signed
from fedloom.shared.wire.frame import Header
from fedloom.shared.wire.messages import Digest

Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class LedgerHead(Header):
    """The last entry of a ledger: its number, its digest, and the site's signature of both.

    It says how many events a site's ledger has, which follows from the plans it answered and
    from what its steward voided. The digest covers the second of the last event, which whoever
    gets the update can guess and confirm: no more than when the update came.
    """

    kind: Literal["ledger-head"] = "ledger-head"
    format: Literal[1] = 1
    public_key: Digest
    number: Annotated[int, Field(ge=1)]
    digest: Digest
    signature: Signature

    @property
    def is_signed(self) -> bool:
        """Whether the holder of `public_key` signed it, number and all."""
        return is_signed(signed_of(self.number, self.digest), self.signature, self.public_key)


def signed_of(number: int, digest: str) -> str:
    """What a head's signature covers: with another number, an older head would pass for newer."""
    return hashlib.sha256(f"fedloom-head-1\n{number}\n{digest}".encode()).hexdigest()
