"""The findings of a suite as a reader meets them: one view an audit, all adapters side by side."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fedloom.server.evaluator.findings import (
    AuditFindings,
    Comparison,
    Evaluation,
    Figure,
    Shown,
    Table,
    Unit,
)
from fedloom.server.report.charts import chart_svg

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
        _view(evaluation, findings) for findings in evaluation.subject.audits if findings.applies
    )


def without_answer(evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    """Title and reason of each audit that does not apply."""
    return tuple(
        (findings.title, findings.why_not)
        for findings in evaluation.subject.audits
        if not findings.applies
    )


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
    unit = "difference" if unit == "share" else unit
    low, high = in_digits(found.low, unit), in_digits(found.high, unit)
    sign = "+" if found.difference >= 0 else ""
    chance = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.3f}"
    difference = f"{sign}{in_unit(found.difference, unit)} [{low}, {high}]"
    # A minus sign in figures, and none in names.
    return f"{difference.replace('-', '−')} against {found.against}, {chance}"


def in_unit(value: float, unit: Unit) -> str:
    """A number for people, with its unit."""
    return in_digits(value, unit) + _NAMES.get(unit, "")


def in_digits(value: float, unit: Unit) -> str:
    """A number for people, with as many digits as its unit bears, where the unit is clear."""
    return _WRITTEN[unit](value)


_NAMES: Mapping[Unit, str] = MappingProxyType({"share": " %", "difference": " points"})
_WRITTEN: Mapping[Unit, Callable[[float], str]] = MappingProxyType(
    {
        "share": lambda value: f"{100 * value:.1f}",
        "difference": lambda value: f"{100 * value:.1f}",
        "nats": lambda value: f"{value:.3f}",
        "epsilon": lambda value: f"{value:.2f}",
        "score": lambda value: f"{value:.3f}",
        "count": lambda value: f"{value:,.0f}",
        "ratio": lambda value: f"{value:.3g}",
    }
)


def in_cell(value: str | int | float | None) -> str:
    """A table's cell for people."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value
