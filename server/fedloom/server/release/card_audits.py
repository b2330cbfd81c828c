"""What was measured of an adapter, for its model card."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal

from fedloom.server.evaluator.findings import AuditFindings, Figure
from fedloom.server.release.contents import Contents
from fedloom.server.report.escaping import plain
from fedloom.server.report.figures import in_digits, in_unit

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
        "crows-pairs": "bias",
        "canaries": "privacy",
        "membership": "privacy",
        "exposure": "privacy",
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
    if not findings.measured:
        yield f"{findings.state.capitalize()}: {plain(findings.why_not)}.\n"
    if findings.figures:
        chance = any(figure.chance is not None for figure in findings.figures)
        yield f"| figure | value | 95 % interval |{' by chance |' * chance} on | better is |"
        yield "|---" * (5 + chance) + "|"
        for figure in findings.figures:
            yield _row(figure, chance=chance)
        yield ""
    yield from (f"- {plain(caveat)}" for caveat in findings.caveats)
    if findings.caveats:
        yield ""


def _row(figure: Figure, *, chance: bool) -> str:
    unit, interval = figure.unit, "–"
    if figure.low is not None and figure.high is not None:
        interval = f"{in_digits(figure.low, unit)} to {in_digits(figure.high, unit)}"
    by_chance = "–" if figure.chance is None else in_unit(figure.chance, unit)
    cells = [plain(figure.words), in_unit(figure.value, unit), interval]
    cells += [by_chance] * chance + [str(figure.records), figure.better]
    return f"| {' | '.join(cells)} |"
