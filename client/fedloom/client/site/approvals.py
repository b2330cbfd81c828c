"""Plans that wait for a steward, and the steward's signed word on them."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from fedloom.client.ledger.entries import Part, Time, now
from fedloom.shared.config.sections import Name
from fedloom.shared.errors import LedgerError, PlanError, SiteRefusal
from fedloom.shared.files import make_folder, write_durably
from fedloom.shared.keys import SigningKey
from fedloom.shared.plan import Plan
from fedloom.shared.signing import is_signed
from fedloom.shared.wire.heads import Signature
from fedloom.shared.wire.messages import Digest

_OWNER_ONLY = 0o600
_DOMAIN = b"fedloom-approval-1\n"
# A coordinator that sends one plan after another must not fill the site's disk.
_MOST_WAITING, _MOST_BYTES = 32, 2**20


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


class Approvals:
    """The plans of one site that wait or were approved, in a folder of the owner's alone.

    Guarantee: `check` passes for a plan only if the holder of the site's key signed an approval
    of exactly its bytes, by their SHA-256, for this site.
    """

    def __init__(self, folder: Path, site: str) -> None:
        self._folder = folder
        self._site = site

    def check(self, plan: Plan, public_key: str) -> None:
        """Refuse a plan that was not approved, and keep it for the steward to look at.

        Raises:
            SiteRefusal: it waits now.
            LedgerError: there is an approval, but not this site's own.
        """
        path = self._approval(plan.sha256)
        if path.is_file():
            self._check_signed(path, plan.sha256, public_key)
            return
        self._keep_waiting(plan)
        name = plan.sha256[:12]
        allowed = f"plans that are signed for (fedloom site approve SITE.toml {name})"
        raise SiteRefusal("approval", asked=f"plan {name}", allowed=allowed)

    def approve(self, plan: Plan, signer: SigningKey) -> None:
        """Sign for a plan; it no longer waits."""
        approval = Approval(site=self._site, plan=plan.sha256, at=now())
        signed = SignedApproval(approval=approval, signature=signer.sign(approval.digest))
        make_folder(self._folder)
        write_durably(self._approval(plan.sha256), signed.canonical(), mode=_OWNER_ONLY)
        self._waiting_file(plan.sha256).unlink(missing_ok=True)

    def waiting(self) -> list[Plan]:
        """Plans that a coordinator asked for and nobody has approved."""
        return [self._read(path.stem) for path in sorted(self._waiting_files())]

    def faults(self, public_key: str) -> Iterator[str]:
        """One line for each approval that is there and is not the site's own."""
        for path in sorted(self._folder.glob("*.approval")):
            try:
                self._check_signed(path, path.stem, public_key)
            except LedgerError as error:
                yield str(error)

    def find(self, start_of_sha256: str) -> Plan:
        """The one waiting plan whose SHA-256 begins so.

        Raises:
            PlanError: there is none, or several.
        """
        found = [plan for plan in self.waiting() if plan.sha256.startswith(start_of_sha256)]
        if len(found) != 1:
            count = len(found) or "none"
            raise PlanError(f"plan {start_of_sha256}: {count} waiting, expected one of that name")
        return found[0]

    def _keep_waiting(self, plan: Plan) -> None:
        path, content = self._waiting_file(plan.sha256), plan.canonical()
        room = len(list(self._waiting_files())) < _MOST_WAITING and len(content) <= _MOST_BYTES
        if room and not path.exists():
            make_folder(self._folder)
            write_durably(path, content, mode=_OWNER_ONLY)

    def _read(self, sha256: str) -> Plan:
        return Plan.from_canonical(self._waiting_file(sha256).read_bytes(), sha256=sha256)

    def _check_signed(self, path: Path, sha256: str, public_key: str) -> None:
        try:
            signed = SignedApproval.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise LedgerError(f"{path}: damaged, expected a signed approval") from error
        approval = signed.approval
        own = (approval.plan, approval.site) == (sha256, self._site)
        if not own or not is_signed(approval.digest, signed.signature, public_key):
            raise LedgerError(f"{path}: not signed by the site's key for this plan")

    def _waiting_files(self) -> Iterable[Path]:
        return self._folder.glob("*.plan")

    def _waiting_file(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.plan"

    def _approval(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.approval"
