"""What one figure, held against one bound, comes to."""

from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.evaluator.findings import Figure
from fedloom.server.release.decision import Ruling
from fedloom.shared.words import nearest


def judged(found: Ruling, figure: Figure, *, reached: bool) -> Ruling:
    """Passed if the bound was reached, else failed, which holds."""
    outcome = "passed" if reached else "failed"
    return with_figure(found, figure, outcome=outcome, holds=not reached, note="")


def with_figure(found: Ruling, figure: Figure, **changes: object) -> Ruling:
    """The ruling with what was measured, and `changes` to it."""
    measured = {"value": figure.value, "low": figure.low, "high": figure.high}
    return found.model_copy(update={**measured, "records": figure.records, **changes})


def figure_of(evaluation: Evaluation | None, name: str) -> Figure | None:
    """The figure `AUDIT.KEY`, None where it was not measured."""
    return None if evaluation is None else evaluation.figure(name)


def why_not(evaluation: Evaluation | None, name: str) -> str:
    """Why there is no figure `AUDIT.KEY`."""
    if evaluation is None:
        return "there is no evaluation"
    audit, _, key = name.partition(".")
    for findings in evaluation.subject.audits:
        if findings.audit == audit:
            known = [figure.key for figure in findings.figures]
            return findings.why_not or f"the audit {audit} has no figure {key}{_meant(key, known)}"
    return f"the audit {audit} was not run"


def _meant(key: str, known: list[str]) -> str:
    return nearest(key, known) if known else ", nor any other"
