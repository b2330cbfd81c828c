"""The findings of a suite as a reader meets them: one view an audit, all adapters side by side."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fedloom.server.evaluator.evaluation import Comparison, Evaluation
from fedloom.server.evaluator.findings import AuditFindings, Figure, Shown, Table, Unit
from fedloom.server.report.charts import chart_svg
from fedloom.server.report.figures import difference_in_words, p_in_words

_DIRECTIONS: Mapping[str, str] = MappingProxyType(
    {"higher": "higher is better", "lower": "lower is better", "zero": "best at 0", "none": ""}
)


@dataclass(frozen=True, kw_only=True)
class FigureRow:
    """One figure of all adapters, in the order of the evaluation; None where it was not measured.
    `against` says how the first differs from another, in pairs."""

    words: str
    direction: str
    records: int
    cells: tuple[Figure | None, ...]
    against: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class AuditView:
    """What a page shows of one audit; `charts` is SVG."""

    name: str
    title: str
    asks: str
    rows: tuple[FigureRow, ...]
    charts: tuple[tuple[str, str, str], ...]
    tables: tuple[Table, ...]
    shown: tuple[Shown, ...]
    caveats: tuple[str, ...]
    sources: tuple[str, ...]


def audit_views(evaluation: Evaluation) -> tuple[AuditView, ...]:
    """Every audit that measured something of the adapter that may be released."""
    return tuple(
        _view(evaluation, findings) for findings in evaluation.subject.audits if findings.measured
    )


def without_answer(evaluation: Evaluation) -> dict[str, list[AuditFindings]]:
    """The audits that measured nothing, by what came of them: the adapter is none that they ask
    about, or something was missing."""
    found: dict[str, list[AuditFindings]] = {"not measured": [], "does not apply": []}
    for findings in evaluation.subject.audits:
        if not findings.measured:
            found[findings.state].append(findings)
    return {state: audits for state, audits in found.items() if audits}


def told_chance(evaluation: Evaluation) -> bool:
    """Whether any figure stands beside what chance alone would give."""
    audits = evaluation.subject.audits
    return any(figure.chance is not None for one in audits for figure in one.figures)


def _view(evaluation: Evaluation, findings: AuditFindings) -> AuditView:
    return AuditView(
        name=findings.audit,
        title=findings.title,
        asks=findings.asks,
        rows=tuple(_rows(evaluation, findings)),
        charts=tuple(
            (chart.title, chart_svg(chart, name=f"{findings.audit}-{at}"), chart.note)
            for at, chart in enumerate(findings.charts)
        ),
        tables=findings.tables,
        shown=findings.shown,
        caveats=findings.caveats,
        sources=findings.sources,
    )


def _rows(evaluation: Evaluation, findings: AuditFindings) -> Iterator[FigureRow]:
    for figure in findings.figures:
        yield FigureRow(
            words=figure.words,
            direction=_DIRECTIONS[figure.better],
            records=figure.records,
            cells=tuple(_cells(evaluation, findings.audit, figure.key)),
            against=tuple(
                _against(found, figure.unit)
                for found in evaluation.comparisons
                if (found.audit, found.key) == (findings.audit, figure.key)
            ),
        )


def _cells(evaluation: Evaluation, audit: str, key: str) -> Iterator[Figure | None]:
    for subject in evaluation.subjects:
        of_audit = (one.figures for one in subject.audits if one.audit == audit)
        yield next((one for figures in of_audit for one in figures if one.key == key), None)


def _against(found: Comparison, unit: Unit) -> str:
    # A minus sign in figures, and none in names.
    difference = difference_in_words(found, unit).replace("-", "−")
    return f"{difference} against {found.against}, {p_in_words(found.p_value)}"
