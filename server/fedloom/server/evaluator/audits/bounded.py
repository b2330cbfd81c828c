"""Means of values between two bounds, that claim no certainty where all values are one bound."""

from collections.abc import Sequence

from fedloom.server.evaluator.audits.base import figure
from fedloom.server.evaluator.findings import Better, Figure, Unit
from fedloom.server.evaluator.statistics import Interval, Values, mean, share

SHARE = (0.0, 1.0)
BALANCE = (-1.0, 1.0)


def bounded_mean(
    values: Values, *, clusters: Sequence[object], bounds: tuple[float, float] = SHARE
) -> Interval:
    """The mean, with a bootstrap interval over clusters.

    No resample of 20 pairs that all went one way differs from them, and yet a 21st may. There the
    interval is Wilson's for as many hits as clusters, stretched to the bounds.

    Raises:
        ValueError: no values, or not one cluster for each.
    """
    found = mean(values, clusters=clusters)
    if found.low < found.high or found.value not in bounds:
        return found
    low, high = bounds
    of = len(set(clusters))
    wilson = share(of if found.value == high else 0, of)
    return Interval(
        value=found.value,
        low=low + (high - low) * wilson.low,
        high=low + (high - low) * wilson.high,
    )


def bounded_figure(
    key: str,
    words: str,
    values: Values,
    *,
    better: Better,
    unit: Unit,
    clusters: Sequence[object],
    bounds: tuple[float, float] = SHARE,
) -> Figure:
    """`bounded_mean` as a figure; its records are clusters."""
    found = bounded_mean(values, clusters=clusters, bounds=bounds)
    return figure(key, words, found, records=len(set(clusters)), better=better, unit=unit)
