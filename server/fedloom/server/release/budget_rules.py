"""No site over its budget: what each spent by its own ledger, against what it allows."""

from collections.abc import Iterator

from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.release.decision import Ruling
from fedloom.server.report.facts import SiteFacts
from fedloom.server.report.schema import Report
from fedloom.shared.config.release import ReleaseSection
from fedloom.shared.privacy.accounting import ARITHMETIC_SLACK


def budget_rulings(
    section: ReleaseSection, evaluation: Evaluation | None, report: Report
) -> Iterator[Ruling]:
    """One ruling for each site of a run with privacy: it spent no more than it allows."""
    for site in report.sites if report.privacy.mode != "none" else ():
        yield _budget(site, report)


def _budget(site: SiteFacts, report: Report) -> Ruling:
    held = max(_held_against(site, report), key=_excess, default=None)
    found = Ruling(
        name=f"budget.{site.name}",
        words=f"{site.name} spent no more epsilon than it allows",
        outcome="not-measured",
        holds=True,
        at_most=None if held is None else held[0],
        value=None if held is None else held[1],
    )
    if held is not None and _is_over(held):
        return found.model_copy(update={"outcome": "failed"})
    if not _took_part(site, report):
        changes = {"outcome": "noted", "holds": False, "note": "the site took no part"}
        return found.model_copy(update=changes)
    unknown = _unknown(site)
    if unknown or held is None:
        # What it is not known to be within is no limit to show beside it.
        note = unknown or "earlier runs are in what it spent, and it does not say what it allows"
        changes = {"at_most": None, "value": site.epsilon_spent, "note": note}
        return found.model_copy(update=changes)
    return found.model_copy(update={"outcome": "passed", "holds": False})


def _took_part(site: SiteFacts, report: Report) -> bool:
    own = (each for entry in report.rounds for each in entry.sites if each.site == site.name)
    return any(each.fault is None for each in own)


def _unknown(site: SiteFacts) -> str:
    if site.epsilon_spent is None:
        return "the site took part and did not say what it spent"
    if site.epsilon_allowed is not None and site.epsilon_declared is None:
        return "the site says that no epsilon covers what it answered"
    return ""


def _held_against(site: SiteFacts, report: Report) -> Iterator[tuple[float, float]]:
    """Limits, each with what must not be above it.

    The site's own policy is over all runs: the newest of what it said counts, in a hello or in the
    journal. What the plan promises for this run is held against the journal, where no step of an
    earlier run is in it.
    """
    spent = [each for each in (site.epsilon_spent, site.epsilon_declared) if each is not None]
    if site.epsilon_allowed is not None and spent:
        yield site.epsilon_allowed, max(spent)
    planned = report.epsilon_by_round.get(site.name, ())
    if planned and site.epsilon_spent is not None and site.steps <= _planned_steps(report):
        yield planned[-1], site.epsilon_spent


def _is_over(held: tuple[float, float]) -> bool:
    limit, spent = held
    return spent > limit * (1 + ARITHMETIC_SLACK)


def _excess(held: tuple[float, float]) -> tuple[bool, float]:
    limit, spent = held
    return _is_over(held), spent - limit


def _planned_steps(report: Report) -> int:
    training = report.training
    others = training.rounds - training.head_rounds
    return training.head_rounds * training.head_local_steps + others * training.local_steps
