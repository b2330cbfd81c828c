"""No site over its budget: what each spent by its own ledger, against what it allows."""

from collections.abc import Iterator

from fedloom.server.evaluator.findings import Evaluation
from fedloom.server.release.decision import Ruling
from fedloom.server.report.schema import Report, SiteFacts
from fedloom.shared.config.release import ReleaseSection
from fedloom.shared.privacy.accounting import ARITHMETIC_SLACK


def budget_rulings(
    section: ReleaseSection, evaluation: Evaluation | None, report: Report
) -> Iterator[Ruling]:
    """One ruling for each site of a run with privacy: it spent no more than it allows."""
    for site in report.sites if report.privacy.mode != "none" else ():
        yield _budget(site, report)


def _budget(site: SiteFacts, report: Report) -> Ruling:
    limits = list(_limits(site, report))
    limit, spent = min(limits, default=None), site.epsilon_spent
    found = Ruling(
        name=f"budget.{site.name}",
        words=f"{site.name} spent no more epsilon than it allows",
        outcome="noted",
        holds=False,
        at_most=limit,
        value=spent,
    )
    if spent is None:
        return found.model_copy(update={"note": "the site took no part"})
    if limit is None:
        note = "earlier runs are in what it spent, and it does not say what it allows"
        changes = {"outcome": "not-measured", "holds": True, "note": note}
        return found.model_copy(update=changes)
    over = spent > limit * (1 + ARITHMETIC_SLACK)
    return found.model_copy(update={"outcome": "failed" if over else "passed", "holds": over})


def _limits(site: SiteFacts, report: Report) -> Iterator[float]:
    """What the site's own policy allows over all runs, and what the plan promises for this one.

    What a site has spent is of all its runs; it is held against the plan where no step of an
    earlier run is in it.
    """
    if site.epsilon_allowed is not None:
        yield site.epsilon_allowed
    planned = report.epsilon_by_round.get(site.name, ())
    if planned and site.steps <= _planned_steps(report):
        yield planned[-1]


def _planned_steps(report: Report) -> int:
    training = report.training
    others = training.rounds - training.head_rounds
    return training.head_rounds * training.head_local_steps + others * training.local_steps
