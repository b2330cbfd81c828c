"""A steward's signed word on plans, and the plans that wait for it."""

from collections.abc import Iterator
from pathlib import Path

from fedloom.client.site.signed import Approval, read_approval, write_approval, write_down
from fedloom.client.site.waiting import WaitingPlans
from fedloom.shared.errors import LedgerError, PlanError, SiteRefusal
from fedloom.shared.files import remove_durably
from fedloom.shared.keys import SigningKey
from fedloom.shared.plan import Plan

_NO_ROOM = "none but those that wait (fedloom site status, fedloom site withdraw)"


class Approvals:
    """The plans of one site that wait or were approved, in a folder of the owner's alone.

    Guarantee: `check` passes for a plan only if the holder of the site's key signed an approval
    of exactly its bytes, by their SHA-256, for this site, and did not withdraw it since. Each
    decision is written down in `decisions.jsonl` before it holds, and holds after a crash.
    """

    def __init__(self, folder: Path, site: str) -> None:
        self._folder = folder
        self._site = site
        self._waiting = WaitingPlans(folder)
        self._log = folder / "decisions.jsonl"

    def check(self, plan: Plan, public_key: str) -> None:
        """Refuse a plan that was not approved, and keep it for the steward to look at.

        Raises:
            SiteRefusal: it waits now, or there is no room for it to.
            LedgerError: there is an approval, but not this site's own.
        """
        if self.approval(plan.sha256, public_key) is not None:
            return
        name = plan.sha256[:12]
        signed = f"plans that are signed for (fedloom site approve SITE.toml {name})"
        allowed = signed if self._waiting.keep(plan) else _NO_ROOM
        raise SiteRefusal("approval", asked=f"plan {name}", allowed=allowed)

    def approve(self, plan: Plan, signer: SigningKey) -> None:
        """Sign for a plan; it no longer waits. What was signed for is not signed again.

        Raises:
            LedgerError: there is an approval, but not this site's own.
        """
        if self.approval(plan.sha256, signer.public) is None:
            write_down(self._log, "approved", plan.sha256)
            write_approval(self._file(plan.sha256), plan.sha256, self._site, signer)
        self._waiting.drop(plan.sha256)

    def withdraw(self, start_of_sha256: str) -> str:
        """Take back an approval, or have a plan wait no longer; its SHA-256.

        Also one that cannot be read, or is not this site's own.

        Raises:
            PlanError: there is none of that name, or several.
        """
        names = self.named(start_of_sha256)
        if len(names) != 1:
            count = len(names) or "none"
            found = f"{count} waiting or approved, expected one of that name"
            raise PlanError(f"plan {start_of_sha256}: {found}")
        write_down(self._log, "withdrawn", names[0])
        remove_durably(self._file(names[0]))
        self._waiting.drop(names[0])
        return names[0]

    def named(self, start_of_sha256: str) -> list[str]:
        """The SHA-256 of all plans that wait or were approved, and begin so."""
        names = {*self._waiting.names(), *self._approved_names()}
        return sorted(name for name in names if name.startswith(start_of_sha256))

    def waiting(self) -> list[Plan]:
        """Plans that a coordinator asked for and nobody has approved.

        Raises:
            PlanError: one is damaged.
        """
        approved = set(self._approved_names())
        return [self._waiting.read(name) for name in self._waiting.names() if name not in approved]

    def approval(self, sha256: str, public_key: str) -> Approval | None:
        """The approval of a plan, if it was approved.

        Raises:
            LedgerError: there is one, but not this site's own.
        """
        return read_approval(self._file(sha256), sha256, self._site, public_key)

    def approved(self, public_key: str) -> Iterator[Approval | str]:
        """Each approval that is there, or one line on what is wrong with it."""
        for name in self._approved_names():
            try:
                approval = self.approval(name, public_key)
            except LedgerError as error:
                yield str(error)
            else:
                if approval is not None:
                    yield approval

    def faults(self, public_key: str) -> Iterator[str]:
        """One line for each approval that is there and is not the site's own."""
        return (each for each in self.approved(public_key) if isinstance(each, str))

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

    def _approved_names(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.approval"))

    def _file(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.approval"
