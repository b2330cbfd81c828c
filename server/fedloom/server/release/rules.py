"""The rules of the gate: those that no file can switch off, and those that a federation set."""

from collections.abc import Callable, Iterator

from fedloom.server.evaluator.findings import Evaluation, Figure
from fedloom.server.release.budget_rules import budget_rulings
from fedloom.server.release.decision import Ruling
from fedloom.server.report.schema import Report
from fedloom.shared.config.release import ReleaseRule, ReleaseSection

# Audits that bound epsilon from below, in words.
_BOUND = "epsilon_lower_bound"
_PRIVACY_AUDITS = {
    "canaries": "with records planted for the purpose",
    "membership": "by guessing who was trained on",
}

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
    missing = evaluation is None
    yield Ruling(
        name="evaluated",
        words="a suite of audits was run on this adapter",
        outcome="not-measured" if missing else "passed",
        holds=missing and section.require_evaluation,
        note="there is no evaluation" if missing else "",
    )


def _privacy_audited(
    section: ReleaseSection, evaluation: Evaluation | None, report: Report
) -> Iterator[Ruling]:
    measured = [name for name in _PRIVACY_AUDITS if _found(evaluation, f"{name}.{_BOUND}")]
    yield Ruling(
        name="privacy-audited",
        words="an audit bounded epsilon from below",
        outcome="passed" if measured else "not-measured",
        holds=not measured and section.require_privacy_audit,
        note=f"by {', '.join(measured)}" if measured else "no audit did",
    )


def _measured_epsilon(
    section: ReleaseSection, evaluation: Evaluation | None, report: Report
) -> Iterator[Ruling]:
    claimed = report.privacy.epsilon
    for audit, how in _PRIVACY_AUDITS.items():
        name = f"{audit}.{_BOUND}"
        figure = _found(evaluation, name)
        found = Ruling(
            name=f"measured-epsilon.{audit}",
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
        yield found if figure is None else _judged(found, figure, reached=_reached(rule, figure))


def _reached(rule: ReleaseRule, figure: Figure) -> bool:
    # A figure without an interval is exact, or a bound by itself.
    end = {"value": figure.value, "low": figure.low, "high": figure.high}[rule.decides]
    decides = figure.value if end is None else end
    if rule.at_least is not None:
        return decides >= rule.at_least
    return rule.at_most is not None and decides <= rule.at_most


def _judged(found: Ruling, figure: Figure, *, reached: bool) -> Ruling:
    outcome = "passed" if reached else "failed"
    return _with(found, figure, outcome=outcome, holds=not reached, note="")


def _with(found: Ruling, figure: Figure, **changes: object) -> Ruling:
    interval = {"value": figure.value, "low": figure.low, "high": figure.high}
    return found.model_copy(update=interval | changes)


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
