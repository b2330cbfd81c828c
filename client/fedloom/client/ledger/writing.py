"""The next entry of a ledger."""

from typing import Literal

from fedloom.client.ledger.chain import Chain
from fedloom.client.ledger.entries import Charge, Entry, Opening, now


def opening_of(site: str, public_key: str) -> Opening:
    """The first entry."""
    return Opening(at=now(), site=site, public_key=public_key)


def entry_after(
    chain: Chain,
    event: Literal["reserved", "released", "voided"],
    charge: Charge,
    *,
    draws: str | None = None,
    sealed: str | None = None,
) -> Entry:
    """What follows the last entry of `chain`."""
    return Entry(
        number=chain.length + 1,
        event=event,
        at=now(),
        previous=chain.head.digest,
        draws=draws,
        sealed=sealed,
        charge=charge,
    )
