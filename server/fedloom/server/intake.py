"""What the server checks of a reply before it counts."""

import re
from collections.abc import Callable

import numpy as np
from flwr.common.constant import ErrorCode

from fedloom.server.aggregation.base import Aggregator
from fedloom.server.asked import GONE, Reply
from fedloom.server.run.heads import HeadBook
from fedloom.server.run.journal import SiteRound
from fedloom.shared.adapter import Adapter
from fedloom.shared.errors import UpdateRejected, WireError
from fedloom.shared.phases import phase_in
from fedloom.shared.plan import Plan, SitePlan
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.flower import from_records
from fedloom.shared.wire.heads import LedgerHead
from fedloom.shared.wire.messages import AdapterUpdate, RefusalHeader

IsFrom = Callable[[str, Envelope], bool]
"""Whether a site gave this answer to what it was asked in this round."""

NOT_CONNECTED = "not connected"
MALFORMED = "answers with what is no message"
_SILENT = "no answer before the deadline"
BUNDLE_REFUSED = "its node refuses the bundle: not signed by the coordinator that it knows"
# A plan that its policy allows, and that nobody at the site has looked at yet.
_APPROVAL, _WAITS = "approval", "waits for its steward (approval)"
# Whether among faults there is one that the site itself decided on.
BY_THE_SITE = re.compile(rf": (refused: |{re.escape(_WAITS)})")
_WENT = "its node went, and did not come back in time"


class _Refused(UpdateRejected):
    """The site itself said no, by the name of a rule."""

    def __init__(self, rule: str) -> None:
        self.rule = rule
        super().__init__(_WAITS if rule == _APPROVAL else f"refused: {rule}")


class Intake:
    """Takes one round's replies into an aggregator, one at a time.

    Guarantee: an update counts only if it is the site's own answer to what it was asked, names
    this plan, round, site and layout, has the right length, holds finite numbers, its L2 norm is
    at most the plan's bound, it tells held-out counts just when the plan asks for them, and the
    site's ledger goes on from where it was. Whatever a site sends, the worst is that it is left
    out of the round, by name.
    """

    def __init__(
        self,
        plan: Plan,
        number: int,
        current: Adapter,
        aggregator: Aggregator,
        *,
        heads: HeadBook,
        is_from: IsFrom,
    ) -> None:
        self._plan, self._number, self._aggregator = plan, number, aggregator
        self._heads = heads
        self._is_from = is_from
        self._trained = phase_in(plan, number).layout(current.layout)
        self._bytes_down = current.layout.nbytes
        self._outcomes = {site.name: _outcome(site.name, NOT_CONNECTED) for site in plan.sites}
        total = sum(self._weight(site) for site in plan.sites)
        aggregator.init(current, self._trained, total_weight=total)

    def take(self, reply: Reply) -> None:
        """Check one reply and fold its update in, or note why not."""
        fault: str | None = None
        rule: str | None = None
        update: AdapterUpdate | None = None
        digest: str | None = None
        try:
            update, digest = self._checked(reply)
            weight = self._weight(self._plan.site(reply.site))
            self._aggregator.accumulate(update.delta, weight=weight)
        except _Refused as error:
            fault, rule = str(error), error.rule
        except UpdateRejected as error:
            fault = str(error)
        except WireError as error:
            fault = f"rejected: {error}"
        self._outcomes[reply.site] = SiteRound(
            site=reply.site,
            fault=fault,
            refused_by=rule,
            bytes_up=0 if update is None else update.delta.nbytes,
            bytes_down=self._bytes_down,
            epsilon_spent=None if update is None else update.epsilon_spent,
            steps_spent=None if update is None else update.steps_spent,
            held_out=None if update is None else update.held_out,
            update_sha256=digest,
        )

    @property
    def accepted(self) -> int:
        """How many updates counted."""
        return sum(outcome.fault is None for outcome in self._outcomes.values())

    def outcomes(self) -> tuple[SiteRound, ...]:
        """Each site of the plan, in the plan's order."""
        return tuple(self._outcomes[site.name] for site in self._plan.sites)

    def faults(self) -> str:
        """Sites that did not count, each with its reason."""
        named = [f"{site.site}: {site.fault}" for site in self.outcomes() if site.fault]
        return "; ".join(named) or "no faults"

    def _checked(self, reply: Reply) -> tuple[AdapterUpdate, str]:
        """The update, and the digest of the frame that it came in."""
        if reply.malformed:
            raise UpdateRejected(f"rejected: {MALFORMED}")
        if reply.message is None:
            raise UpdateRejected(_SILENT)
        if reply.message.has_error():
            raise UpdateRejected(fault_of(reply.message.error.code))
        envelope = from_records(reply.message.content)
        frame, is_own = envelope.frame, self._is_from(reply.site, envelope)
        if not frame.payload:
            rule = RefusalHeader.parse(frame.header).rule
            # A relay has no key, and may say that its trainer is not there.
            raise _Refused(rule) if is_own else UpdateRejected(f"its relay says: {rule}")
        if not is_own:
            raise UpdateRejected("rejected: without the site's signature for this task")
        update = AdapterUpdate.unpack(frame, size=self._trained.size)
        self._check_identity(update, reply.site)
        self._check_measured(update)
        norm = float(np.linalg.norm(update.delta.astype(np.float64)))
        if norm > self._plan.aggregation.max_update_norm:
            bound = self._plan.aggregation.max_update_norm
            raise UpdateRejected(f"rejected: update norm {norm:.3g}, expected at most {bound:g}")
        self._remember(reply.site, envelope.head)
        return update, frame.sha256

    def _remember(self, site: str, head: LedgerHead | None) -> None:
        if head is None:
            raise UpdateRejected("rejected: no head of the site's ledger")
        self._heads.remember(site, head)

    def _check_identity(self, update: AdapterUpdate, site: str) -> None:
        found = (update.plan_sha256, update.round, update.site, update.layout_sha256)
        wanted = (self._plan.sha256, self._number, site, self._trained.sha256)
        names = ("plan", "round", "site", "layout")
        for name, got, expected in zip(names, found, wanted, strict=True):
            if got != expected:
                raise UpdateRejected(f"rejected: update is for another {name}")

    def _check_measured(self, update: AdapterUpdate) -> None:
        asked, told = self._plan.metrics.measures(self._number), update.held_out is not None
        if asked and not told:
            raise UpdateRejected("rejected: no held-out counts, expected them in this round")
        if told and not asked:
            raise UpdateRejected("rejected: held-out counts, expected none in this round")

    def _weight(self, site: SitePlan) -> float:
        return 1.0 if self._plan.aggregation.weights == "uniform" else float(site.declared_units)


def fault_of(code: int) -> str:
    """What an error of Flower's means for a round."""
    if code == ErrorCode.INVALID_FAB:
        return BUNDLE_REFUSED
    return _WENT if code in GONE else "failed while training"


def _outcome(site: str, fault: str) -> SiteRound:
    return SiteRound(site=site, fault=fault, bytes_up=0, bytes_down=0)
