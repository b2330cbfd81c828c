"""Means of values between two bounds, that claim no certainty where nothing varies."""

from collections.abc import Sequence

from fedloom.server.evaluator.audits.base import figure
from fedloom.server.evaluator.findings import Better, Figure, Unit
from fedloom.server.evaluator.statistics import Interval, Values, mean, share

SHARE = (0.0, 1.0)
BALANCE = (-1.0, 1.0)
_LEAST_WIDTH = 1e-9


def bounded_mean(
    values: Values, *, clusters: Sequence[object], bounds: tuple[float, float] = SHARE
) -> Interval:
    """The mean, with a bootstrap interval over clusters.

    No resample of 20 pairs that all went one way differs from them, and yet a 21st may; nor does
    one of clusters that all have the same mean. There the interval allows for as many that went
    to either bound as Wilson's does of none seen.

    Raises:
        ValueError: no values, or not one cluster for each.
    """
    found = mean(values, clusters=clusters)
    # The same means of clusters may differ in their last digit.
    if found.high - found.low > _LEAST_WIDTH:
        return found
    low, high = bounds
    unseen = share(0, len(set(clusters))).high
    return Interval(
        value=found.value,
        low=found.value - unseen * (found.value - low),
        high=found.value + unseen * (high - found.value),
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
