"""What a steward signs and decides about plans, as it is kept."""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from fedloom.client.ledger.entries import Part, Time, now
from fedloom.shared.config.values import Name
from fedloom.shared.errors import LedgerError
from fedloom.shared.files import (
    OWNER_ONLY,
    append_durably,
    drop_cut_line,
    make_folder,
    write_durably,
)
from fedloom.shared.keys import SigningKey
from fedloom.shared.signing import is_signed
from fedloom.shared.wire.heads import Signature
from fedloom.shared.wire.messages import Digest

_DOMAIN = b"fedloom-approval-1\n"
Event = Literal["approved", "withdrawn"]


class Approval(Part):
    """What is signed: this site, or its steward, agreed to this plan then."""

    format: Literal[1] = 1
    site: Name
    plan: Digest
    at: Time

    @property
    def digest(self) -> str:
        """What the signature covers."""
        return hashlib.sha256(_DOMAIN + self.canonical()).hexdigest()


class SignedApproval(Part):
    """An approval as it is kept."""

    approval: Approval
    signature: Signature


class Decision(Part):
    """What a steward decided, as a line of the log."""

    at: Time
    event: Event
    plan: str


def write_approval(path: Path, sha256: str, site: str, signer: SigningKey) -> None:
    """Sign for a plan; on disk when this returns."""
    approval = Approval(site=site, plan=sha256, at=now())
    signed = SignedApproval(approval=approval, signature=signer.sign(approval.digest))
    write_durably(path, signed.canonical(), mode=OWNER_ONLY)


def read_approval(path: Path, sha256: str, site: str, public_key: str) -> Approval | None:
    """The approval in a file, if there is one.

    Raises:
        LedgerError: it is damaged, or not what the site's key signed for this plan and site.
    """
    try:
        signed = SignedApproval.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise LedgerError(f"{path}: damaged, expected a signed approval") from error
    approval = signed.approval
    own = (approval.plan, approval.site) == (sha256, site)
    if not own or not is_signed(approval.digest, signed.signature, public_key):
        raise LedgerError(f"{path}: not signed by the site's key for this plan")
    return approval


def write_down(log: Path, event: Event, plan: str) -> None:
    """Add a decision to the log; on disk when this returns."""
    make_folder(log.parent)
    drop_cut_line(log)
    append_durably(log, Decision(at=now(), event=event, plan=plan).canonical(), mode=OWNER_ONLY)
