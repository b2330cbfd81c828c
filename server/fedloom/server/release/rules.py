"""The rules of the gate: those that no file can switch off, and those that a federation set."""

from collections.abc import Callable, Iterator

from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.evaluator.findings import Figure
from fedloom.server.release.budget_rules import budget_rulings
from fedloom.server.release.decision import Ruling
from fedloom.server.release.privacy_rules import measured_epsilon, privacy_audited
from fedloom.server.release.ruling import figure_of, judged, why_not, with_figure
from fedloom.server.report.schema import Report
from fedloom.shared.config.release import LEAST_RECORDS, ReleaseRule, ReleaseSection
from fedloom.shared.words import count

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
        words=f"an audit measured this adapter on at least {LEAST_RECORDS} records or units",
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
    least = f"{LEAST_RECORDS} records or units at least"
    return f"no audit measured a figure on {least} ({most} at most)"


def _promised(
    section: ReleaseSection, evaluation: Evaluation | None, report: Report
) -> Iterator[Ruling]:
    for rule in section.rules:
        figure = figure_of(evaluation, rule.figure)
        found = Ruling(
            name=rule.name,
            words=figure.words if figure else "a figure that the federation asked for",
            outcome="not-measured",
            holds=True,
            figure=rule.figure,
            bound=rule.decides,
            at_least=rule.at_least,
            at_most=rule.at_most,
            note=why_not(evaluation, rule.figure),
        )
        yield found if figure is None else _held_against(rule, found, figure)


def _held_against(rule: ReleaseRule, found: Ruling, figure: Figure) -> Ruling:
    end = {"value": figure.value, "low": figure.low, "high": figure.high}[rule.decides]
    if figure.records < rule.min_records:
        told = f"measured on {count(figure.records, 'record or unit', 'records or units')}"
        return with_figure(found, figure, note=f"{told}, expected at least {rule.min_records}")
    if end is None:
        note = 'has no 95 % interval, and the rule does not say bound = "value"'
        return with_figure(found, figure, note=note)
    if rule.at_least is not None:
        return judged(found, figure, reached=end >= rule.at_least)
    return judged(found, figure, reached=rule.at_most is not None and end <= rule.at_most)


_RULES: tuple[Rule, ...] = (
    _private_noise,
    _privacy_asked,
    _evaluated,
    privacy_audited,
    measured_epsilon,
    budget_rulings,
    _promised,
)
