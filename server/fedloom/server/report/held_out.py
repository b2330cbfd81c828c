"""What the sites' noised counts say of the adapter: an accuracy for each measured round."""

import math
from collections.abc import Iterator, Sequence

from fedloom.server.report.schema import HeldOutPoint
from fedloom.server.run.journal import RoundEntry
from fedloom.shared.plan import Plan

WHAT_HELD_OUT_IS = (
    "Measured at the sites on records that nobody else sees, noised and charged: how much of all "
    "sites’ held-out units the adapter that a round started from gets right. Intervals are 95 % "
    "ones for the noise alone."
)
# Of a standard Gaussian, two-sided.
_WITHIN_95 = 1.959963984540054


def held_out_points(plan: Plan, rounds: Sequence[RoundEntry]) -> tuple[HeldOutPoint, ...]:
    """One point for each round in which a site told counts and its update counted."""
    return tuple(_points(plan, rounds))


def _points(plan: Plan, rounds: Sequence[RoundEntry]) -> Iterator[HeldOutPoint]:
    for entry in rounds:
        told = [site.held_out for site in entry.sites if site.fault is None and site.held_out]
        if told:
            # The noise that every site added to each of its two counts.
            deviation = plan.metrics.noise_multiplier * math.sqrt(2 * len(told))
            units, right = sum(each.units for each in told), sum(each.right for each in told)
            value, low, high = noised_ratio(right, units, deviation=deviation)
            yield HeldOutPoint(
                round=entry.round, sites=len(told), accuracy=value, low=low, high=high
            )


def noised_ratio(
    right: float, units: float, *, deviation: float
) -> tuple[float | None, float, float]:
    """The share `right / units` of two sums, each with noise, and its 95 % interval in [0, 1].

    The interval is Fieller's (1954), exact for Gaussian noise of standard deviation `deviation`
    on either sum: all shares a for which right - a * units lies within its own noise. The share
    is None where the noise hides that there are units at all.
    """
    reach = _WITHIN_95 * deviation
    if units <= reach:
        return None, 0.0, 1.0
    square = units**2 - reach**2
    spread = reach * math.sqrt(right**2 + square)
    low, high = ((right * units + sign * spread) / square for sign in (-1, 1))
    return _share(right / units), _share(low), _share(high)


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))
