"""What was measured of an adapter, for its model card."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal

from fedloom.server.evaluator.findings import AuditFindings, Figure
from fedloom.server.release.contents import Contents
from fedloom.server.report.escaping import plain

Heading = Literal["evaluation", "bias", "privacy"]
# Audits that stand under a heading of their own; all others are the evaluation's.
_HEADINGS: Mapping[str, Heading] = MappingProxyType(
    {
        "groups": "bias",
        "swaps": "bias",
        "bbq": "bias",
        "winobias": "bias",
        "winogender": "bias",
        "honest": "bias",
        "crows": "bias",
        "canaries": "privacy",
        "membership": "privacy",
        "extraction": "privacy",
    }
)


def audits_text(contents: Contents, *, heading: Heading) -> str:
    """The findings that stand under one heading, or that there are none."""
    evaluation = contents.evaluation
    audits = evaluation.subject.audits if evaluation else ()
    shown = [one for one in audits if _HEADINGS.get(one.audit, "evaluation") == heading]
    found = "\n".join(line for one in shown for line in _one_audit(one))
    told = evaluation.caveats if evaluation and heading == "evaluation" else ()
    first = "".join(f"{plain(caveat)}\n\n" for caveat in told)
    return first + (found or "Not measured.")


def number(value: float | None) -> str:
    """Four digits of it, or a dash."""
    return "–" if value is None else f"{value:.4g}"


def _one_audit(findings: AuditFindings) -> Iterator[str]:
    yield f"**{plain(findings.title)}.** {plain(findings.asks)}\n"
    if not findings.applies:
        yield f"Not measured: {plain(findings.why_not)}.\n"
    if findings.figures:
        yield "| figure | value | 95 % interval | on | better is |"
        yield "|---|---|---|---|---|"
        for figure in findings.figures:
            yield _row(figure)
        yield ""
    yield from (f"- {plain(caveat)}" for caveat in findings.caveats)
    if findings.caveats:
        yield ""


def _row(figure: Figure) -> str:
    known = figure.low is not None and figure.high is not None
    interval = f"{number(figure.low)} to {number(figure.high)}" if known else "–"
    cells = (plain(figure.words), number(figure.value), interval, str(figure.records))
    return f"| {' | '.join(cells)} | {figure.better} |"
