"""Measured privacy: whether an audit bounded epsilon, and whether that contradicts the claim."""

from collections.abc import Iterator, Sequence

from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.release.decision import Ruling
from fedloom.server.release.ruling import figure_of, judged, why_not, with_figure
from fedloom.server.report.schema import Report
from fedloom.shared.config.release import LEAST_RECORDS, ReleaseSection

# What the rules on a measured epsilon begin with, each for an audit.
MEASURED_EPSILON = "measured-epsilon."
# Audits that bound epsilon from below, in words.
_BOUND = "epsilon_lower_bound"
# The most that such an audit could have measured, had every guess of its been right.
_MOST = "epsilon_most"
_TOO_FEW = "could not have contradicted the claim"
_PRIVACY_AUDITS = {"canaries": "with records planted for the purpose"}


def privacy_audited(
    section: ReleaseSection, evaluation: Evaluation | None, report: Report
) -> Iterator[Ruling]:
    """An audit bounded epsilon from below; it must have, if the federation asked for one."""
    claimed = report.privacy.epsilon
    figures = {name: figure_of(evaluation, f"{name}.{_BOUND}") for name in _PRIVACY_AUDITS}
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
    most = figure_of(evaluation, f"{audit}.{_MOST}")
    return most is not None and claimed is not None and most.value < claimed


def measured_epsilon(
    section: ReleaseSection, evaluation: Evaluation | None, report: Report
) -> Iterator[Ruling]:
    """For each such audit: what it measured is not above the claim, and could have been."""
    claimed = report.privacy.epsilon
    for audit, how in _PRIVACY_AUDITS.items():
        name = f"{audit}.{_BOUND}"
        figure = figure_of(evaluation, name)
        found = Ruling(
            name=f"{MEASURED_EPSILON}{audit}",
            words=f"epsilon measured {how} is not above the epsilon claimed",
            outcome="not-measured",
            holds=False,
            figure=name,
            bound="value",
            at_most=claimed,
            note=why_not(evaluation, name),
        )
        if figure is None:
            yield found
        elif claimed is None:
            note = "no epsilon was claimed"
            yield with_figure(found, figure, outcome="noted", holds=False, note=note)
        elif figure.value <= claimed and _powerless(evaluation, audit, claimed):
            yield with_figure(found, figure, outcome="noted", holds=False, note=_TOO_FEW)
        else:
            yield judged(found, figure, reached=figure.value <= claimed)
