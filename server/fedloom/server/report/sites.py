"""What a report says of each site: its spending, its ledger, and where it stopped."""

from collections.abc import Sequence

from fedloom.server.report.facts import LedgerFacts, SiteFacts, Stop
from fedloom.server.run.journal import RoundEntry, SiteRound
from fedloom.shared.plan import Plan, SitePlan
from fedloom.shared.wire.heads import LedgerHead
from fedloom.shared.wire.messages import DeclaredBudget

# The rule by which a site refuses the round that would overspend its total budget.
NO_BUDGET_LEFT = "epsilon"
WHAT_A_HEAD_IS_FOR = (
    "A ledger’s head is the number and digest of its last entry, signed by the site: whoever "
    "compares it with a later copy of that ledger sees whether an entry was changed or taken "
    "away since."
)


def site_facts(
    plan: Plan,
    site: SitePlan,
    rounds: Sequence[RoundEntry],
    *,
    head: LedgerHead | None,
    budget: DeclaredBudget | None,
) -> SiteFacts:
    """One site of a run of `plan`, from its journal and from what the site said itself."""
    own = _rounds_of(site.name, rounds)
    answered = [entry for entry in own if entry.fault is None]
    last = answered[-1] if answered else None
    counted = budget if plan.privacy.private and not plan.privacy.seeded else None
    return SiteFacts(
        name=site.name,
        records=site.declared_units,
        epsilon_spent=last.epsilon_spent if last else None,
        epsilon_allowed=counted.epsilon_allowed if counted else None,
        epsilon_left=_left(counted, last) if counted else None,
        epsilon_declared=counted.epsilon_spent if counted else None,
        delta=plan.privacy.delta,
        noise_multiplier=site.noise_multiplier,
        sample_rate=site.sample_rate,
        steps=(last.steps_spent or 0) if last else 0,
        bytes_up=sum(entry.bytes_up for entry in own),
        bytes_down=sum(entry.bytes_down for entry in own),
        ledger_head=_ledger_facts(head) if head else None,
    )


def stops_of(rounds: Sequence[RoundEntry]) -> tuple[Stop, ...]:
    """Each rule that a site refused by, with the first such round, in the order of the rounds."""
    first: dict[tuple[str, str], int] = {}
    for entry in rounds:
        for each in entry.sites:
            if each.refused_by is not None:
                first.setdefault((each.site, each.refused_by), entry.round)
    return tuple(Stop(site=site, round=at, rule=rule) for (site, rule), at in first.items())


def stop_in_words(stop: Stop, rounds: Sequence[RoundEntry]) -> str:
    """A stop for people; it says `stopped` only of a site that did not come back."""
    if stop.rule != NO_BUDGET_LEFT:
        return f"{stop.site} first refused at round {stop.round}, by its rule {stop.rule}"
    later = [each for each in rounds if each.round > stop.round]
    if any(entry.fault is None for entry in _rounds_of(stop.site, later)):
        return (
            f"{stop.site} had no budget left at round {stop.round} (rule {stop.rule}), "
            "and took part again later"
        )
    return (
        f"{stop.site} stopped at round {stop.round}: its ledger has no budget left for it "
        f"(rule {stop.rule}); {_who_went_on(stop, rounds)} went on"
    )


def _who_went_on(stop: Stop, rounds: Sequence[RoundEntry]) -> str:
    sites = [each for entry in rounds if entry.round == stop.round for each in entry.sites]
    others = [each.fault for each in sites if each.site != stop.site]
    if all(fault is None for fault in others):
        return "the others"
    return f"{others.count(None)} of {len(others)} others"


def _left(budget: DeclaredBudget, last: SiteRound | None) -> float | None:
    """By the newest figure that is known: the ledger only grows, and a hello may be older."""
    if budget.epsilon_spent is None:
        return None
    spent = max(budget.epsilon_spent, (last.epsilon_spent or 0.0) if last else 0.0)
    return max(0.0, budget.epsilon_allowed - spent)


def _rounds_of(site: str, rounds: Sequence[RoundEntry]) -> list[SiteRound]:
    return [each for entry in rounds for each in entry.sites if each.site == site]


def _ledger_facts(head: LedgerHead) -> LedgerFacts:
    return LedgerFacts(number=head.number, digest=head.digest, public_key=head.public_key)
