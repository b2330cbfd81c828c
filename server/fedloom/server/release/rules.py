"""The rules of the gate: those that no file can switch off, and those that a federation set."""

from collections.abc import Callable, Iterator, Sequence

from fedloom.server.evaluator.findings import Evaluation, Figure
from fedloom.server.release.budget_rules import budget_rulings
from fedloom.server.release.decision import Ruling
from fedloom.server.report.schema import Report
from fedloom.shared.config.release import LEAST_RECORDS, ReleaseRule, ReleaseSection
from fedloom.shared.words import count

# What the rules on a measured epsilon begin with, each for an audit.
MEASURED_EPSILON = "measured-epsilon."
# Audits that bound epsilon from below, in words.
_BOUND = "epsilon_lower_bound"
# The most that such an audit could have measured, had every guess of its been right.
_MOST = "epsilon_most"
_TOO_FEW = "could not have contradicted the claim"
_PRIVACY_AUDITS = {"canaries": "with records planted for the purpose"}

Rule = Callable[[ReleaseSection, Evaluation | None, Report], Iterator[Ruling]]


def rulings(
    section: ReleaseSection, evaluation: Evaluation | None, report: Report
) -> tuple[Ruling, ...]:
    """What came of each rule, the built-in ones first, each with a name of its own."""
    return tuple(ruling for rule in _RULES for ruling in rule(section, evaluation, report))


def _private_noise(
    section: ReleaseSection, evaluation: Evaluation | None, report: Report
) -> Iterator[Ruling]:
    """Nobody may override this one: what a seed gives out again protects nobody."""
    seeded = report.privacy.seeded
    yield Ruling(
        name="private-noise",
        words="noise was not drawn from a seed",
        outcome="failed" if seeded else "passed",
        holds=seeded,
        final=seeded,
        note="SEEDED, NOT PRIVATE: the noise can be taken off again" if seeded else "",
    )


def _privacy_asked(
    section: ReleaseSection, evaluation: Evaluation | None, report: Report
) -> Iterator[Ruling]:
    private = report.privacy.mode != "none"
    yield Ruling(
        name="trained-with-privacy",
        words="sites trained with differential privacy",
        outcome="passed" if private else "noted",
        holds=False,
        note="" if private else "trained without privacy: nothing bounds what it remembers",
    )


def _evaluated(
    section: ReleaseSection, evaluation: Evaluation | None, report: Report
) -> Iterator[Ruling]:
    missing = _no_evidence(evaluation)
    yield Ruling(
        name="evaluated",
        words=f"an audit measured this adapter on at least {LEAST_RECORDS} records",
        outcome="not-measured" if missing else "passed",
        holds=bool(missing),
        note=missing,
    )


def _no_evidence(evaluation: Evaluation | None) -> str:
    """Why nothing was measured that could count; empty if something was."""
    if evaluation is None:
        return "there is no evaluation"
    audits = [each for each in evaluation.subject.audits if each.applies]
    most = max((figure.records for each in audits for figure in each.figures), default=0)
    if most >= LEAST_RECORDS:
        return ""
    return f"no audit measured a figure on {LEAST_RECORDS} records or more ({most} at most)"


def _privacy_audited(
    section: ReleaseSection, evaluation: Evaluation | None, report: Report
) -> Iterator[Ruling]:
    claimed = report.privacy.epsilon
    figures = {name: _found(evaluation, f"{name}.{_BOUND}") for name in _PRIVACY_AUDITS}
    told = [name for name, at in figures.items() if at and at.records >= LEAST_RECORDS]
    measured = [name for name in told if not _powerless(evaluation, name, claimed)]
    yield Ruling(
        name="privacy-audited",
        words=f"an audit bounded epsilon from below, on at least {LEAST_RECORDS} records",
        outcome="passed" if measured else "not-measured",
        holds=not measured and section.require_privacy_audit,
        note=f"by {', '.join(measured)}" if measured else _none_did(told),
    )


def _none_did(powerless: Sequence[str]) -> str:
    return f"{', '.join(powerless)} {_TOO_FEW}" if powerless else "no audit did"


def _powerless(evaluation: Evaluation | None, audit: str, claimed: float | None) -> bool:
    """Whether the audit would have kept the claim whatever came of it."""
    most = _found(evaluation, f"{audit}.{_MOST}")
    return most is not None and claimed is not None and most.value < claimed


def _measured_epsilon(
    section: ReleaseSection, evaluation: Evaluation | None, report: Report
) -> Iterator[Ruling]:
    claimed = report.privacy.epsilon
    for audit, how in _PRIVACY_AUDITS.items():
        name = f"{audit}.{_BOUND}"
        figure = _found(evaluation, name)
        found = Ruling(
            name=f"{MEASURED_EPSILON}{audit}",
            words=f"epsilon measured {how} is not above the epsilon claimed",
            outcome="not-measured",
            holds=False,
            figure=name,
            bound="value",
            at_most=claimed,
            note=_why_not(evaluation, audit),
        )
        if figure is None:
            yield found
        elif claimed is None:
            note = "no epsilon was claimed"
            yield _with(found, figure, outcome="noted", holds=False, note=note)
        elif figure.value <= claimed and _powerless(evaluation, audit, claimed):
            yield _with(found, figure, outcome="noted", holds=False, note=_TOO_FEW)
        else:
            yield _judged(found, figure, reached=figure.value <= claimed)


def _promised(
    section: ReleaseSection, evaluation: Evaluation | None, report: Report
) -> Iterator[Ruling]:
    for rule in section.rules:
        figure = _found(evaluation, rule.figure)
        audit, _, _ = rule.figure.partition(".")
        found = Ruling(
            name=rule.name,
            words=figure.words if figure else "a figure that the federation asked for",
            outcome="not-measured",
            holds=True,
            figure=rule.figure,
            bound=rule.decides,
            at_least=rule.at_least,
            at_most=rule.at_most,
            note=_why_not(evaluation, audit),
        )
        yield found if figure is None else _held_against(rule, found, figure)


def _held_against(rule: ReleaseRule, found: Ruling, figure: Figure) -> Ruling:
    end = {"value": figure.value, "low": figure.low, "high": figure.high}[rule.decides]
    if figure.records < rule.min_records:
        told = f"measured on {count(figure.records, 'record')}"
        return _with(found, figure, note=f"{told}, expected at least {rule.min_records}")
    if end is None:
        note = 'has no 95 % interval, and the rule does not say bound = "value"'
        return _with(found, figure, note=note)
    if rule.at_least is not None:
        return _judged(found, figure, reached=end >= rule.at_least)
    return _judged(found, figure, reached=rule.at_most is not None and end <= rule.at_most)


def _judged(found: Ruling, figure: Figure, *, reached: bool) -> Ruling:
    outcome = "passed" if reached else "failed"
    return _with(found, figure, outcome=outcome, holds=not reached, note="")


def _with(found: Ruling, figure: Figure, **changes: object) -> Ruling:
    measured = {"value": figure.value, "low": figure.low, "high": figure.high}
    return found.model_copy(update={**measured, "records": figure.records, **changes})


def _found(evaluation: Evaluation | None, name: str) -> Figure | None:
    return None if evaluation is None else evaluation.figure(name)


def _why_not(evaluation: Evaluation | None, audit: str) -> str:
    if evaluation is None:
        return "there is no evaluation"
    for findings in evaluation.subject.audits:
        if findings.audit == audit:
            return findings.why_not or f"the audit {audit} has no such figure"
    return f"the audit {audit} was not run"


_RULES: tuple[Rule, ...] = (
    _private_noise,
    _privacy_asked,
    _evaluated,
    _privacy_audited,
    _measured_epsilon,
    budget_rulings,
    _promised,
)
