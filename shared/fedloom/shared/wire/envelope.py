"""What passes between a coordinator and a site in one direction."""

from dataclasses import dataclass

from fedloom.shared.wire.frame import Frame
from fedloom.shared.wire.heads import LedgerHead
from fedloom.shared.wire.stamp import Stamp


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """A frame, and a head of the site's ledger: its own beside an update, or the one that the
    coordinator remembers beside a task. `signature` is the sender's (`wire.signed`), where the
    parties have keys, and `stamp` what it makes good once, on a question that is signed."""

    frame: Frame
    head: LedgerHead | None = None
    signature: str | None = None
    stamp: Stamp | None = None
