"""Figures for people: with their unit, and as many digits as it bears."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from fedloom.server.evaluator.evaluation import Comparison
from fedloom.server.evaluator.findings import Unit


def difference_in_words(found: Comparison, unit: Unit) -> str:
    """How a figure in `unit` differs from another adapter's, with its interval."""
    unit = "difference" if unit == "share" else unit
    low, high = in_digits(found.low, unit), in_digits(found.high, unit)
    sign = "+" if found.difference >= 0 else ""
    return f"{sign}{in_unit(found.difference, unit)} [{low}, {high}]"


def p_in_words(p_value: float) -> str:
    """A p-value, as small as anybody wants to know it."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


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
