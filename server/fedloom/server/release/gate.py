"""The gate: from what was promised, measured and spent to a decision."""

from collections.abc import Iterator, Sequence
from importlib.metadata import version

from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.release.decision import Decision, Evidence, Override, Ruling, now, standing
from fedloom.server.release.rules import rulings
from fedloom.server.report.schema import Report
from fedloom.shared.config.release import ReleaseSection
from fedloom.shared.errors import ReleaseError


def decide(
    section: ReleaseSection,
    evaluation: Evaluation | None,
    report: Report,
    *,
    evidence: Evidence,
    overrides: Sequence[Override] = (),
) -> Decision:
    """Whether the adapter of `report` may leave.

    Guarantee: a rule whose figure was not measured, or does not apply, holds the release as one
    that failed does; a federation's own rules can add to the built-in ones and take none away.
    Assumes that report and evaluation are about the adapter of `evidence`; `contents` checks it.

    Raises:
        ReleaseError: an override names a rule that holds nothing, or that nobody may override.
    """
    rules, spoken = rulings(section, evaluation, report), tuple(overrides)
    for problem in _misplaced(rules, spoken):
        raise ReleaseError(problem)
    return Decision(
        fedloom=version("fedloom"),
        name=report.name,
        decided=now(),
        outcome="held" if standing(rules, spoken) else "released",
        evidence=evidence,
        rules=rules,
        overrides=spoken,
    )


def _misplaced(rules: tuple[Ruling, ...], overrides: tuple[Override, ...]) -> Iterator[str]:
    holding = {rule.name: rule for rule in rules if rule.holds}
    open_to_it = [name for name, rule in holding.items() if not rule.final]
    names = [each.rule for each in overrides]
    for name in names:
        if name in holding and holding[name].final:
            yield f"rule {name}: {holding[name].note}; nobody may override it"
        elif name not in holding:
            expected = f"one of {', '.join(open_to_it)}" if open_to_it else "none: no rule holds it"
            yield f"override {name}: no rule of that name holds the release, expected {expected}"
        elif names.count(name) > 1:
            yield f"override {name}: given twice, expected once"
