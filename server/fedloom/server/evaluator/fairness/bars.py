"""Bars with intervals."""

from collections.abc import Sequence

from fedloom.server.evaluator.findings import Series
from fedloom.server.evaluator.statistics import Interval


def bars(name: str, x: tuple[str, ...], found: Sequence[Interval]) -> Series:
    """One set of bars, one for each of `x`."""
    return Series(
        name=name,
        x=x,
        y=tuple(one.value for one in found),
        low=tuple(one.low for one in found),
        high=tuple(one.high for one in found),
    )
