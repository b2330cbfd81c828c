"""Gaps between groups, what resampling makes of them, and what chance alone would.

All measures are functions of how many records of a group are positive, called positive, and
right, so that a resample is a table of counts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.fairness.chance import as_if_alike
from fedloom.server.evaluator.fairness.counts import (
    CALLED,
    CELLS,
    POSITIVE,
    RIGHT,
    Cells,
    Counts,
    counted,
)
from fedloom.server.evaluator.fairness.grouping import Grouping
from fedloom.server.evaluator.statistics import SHARE, Interval, Values, allow_unseen


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A measure with its 95 % bootstrap interval over units. `dealt` has it as it would be if all
    groups were alike (`as_if_alike`), shape (permutations,), NaN where it cannot be measured;
    `by_chance` is their mean, and `p_value` how often one is as bad."""

    value: float
    low: float
    high: float
    by_chance: float
    p_value: float
    dealt: Values = field(repr=False, compare=False)


def accuracy_gap(counts: Counts) -> Values:
    """Best minus worst accuracy, shape (resamples,); NaN where fewer than two groups have one."""
    return _spread(_rate(counts, RIGHT))


def worst_accuracy(counts: Counts) -> Values:
    """The lowest accuracy."""
    rates = _rate(counts, RIGHT)
    lowest: Values = np.where(np.isnan(rates), np.inf, rates).min(axis=1)
    return lowest


def demographic_parity(counts: Counts) -> Values:
    """Highest minus lowest share that is called positive."""
    return _spread(_rate(counts, CALLED))


def equalised_odds(counts: Counts) -> Values:
    """The larger of the spreads of TPR and FPR (Hardt et al. 2016; as in fairlearn).

    NaN unless both can be compared: a group without positives has no TPR, and is passed over.
    """
    true = _spread(_rate(counts, CALLED, among=POSITIVE))
    false = _spread(_rate(counts, CALLED, among=~POSITIVE))
    return np.maximum(true, false)


@dataclass(frozen=True)
class Measure:
    """A function of counts; `worse` is 1 if more of it is worse, and -1 if less is."""

    of: Callable[[Counts], Values]
    worse: int


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "accuracy_gap": Measure(accuracy_gap, 1),
        "worst_accuracy": Measure(worst_accuracy, -1),
        "demographic_parity": Measure(demographic_parity, 1),
        "equalised_odds": Measure(equalised_odds, 1),
    }
)


def gaps_of(
    cells: Cells, grouping: Grouping, drawn: Counts, *, permutations: int
) -> Mapping[str, Gap]:
    """A grouping's gaps by the names of `MEASURES`, those that its records let be measured."""
    counts = counted(cells, grouping)
    dealt = as_if_alike(cells, grouping, draws=permutations)
    of = smallest(grouping)
    gaps = {name: _gap(one, counts, drawn, dealt, of=of) for name, one in MEASURES.items()}
    return {name: gap for name, gap in gaps.items() if gap is not None}


def _gap(measure: Measure, counts: Counts, drawn: Counts, dealt: Counts, *, of: int) -> Gap | None:
    value = float(measure.of(counts)[0])
    if np.isnan(value):
        return None
    every = measure.of(dealt)
    chance = every[~np.isnan(every)]
    as_bad = measure.worse * (chance - value) >= -1e-12
    low, high = interval(value, measure.of(drawn), of=of)
    return Gap(
        value=value,
        low=low,
        high=high,
        by_chance=float(chance.mean()) if chance.size else value,
        p_value=float((1 + as_bad.sum()) / (1 + chance.size)),
        dealt=every,
    )


def interval(value: float, drawn: Values, *, of: int) -> tuple[float, float]:
    """The middle 95 % of resamples, widened to hold the value: where groups are alike, it lies
    below most resamples of a gap. Where none differs, what `of` units cannot rule out, those of
    the smallest group."""
    finite = drawn[np.isfinite(drawn)]
    low, high = np.percentile(finite, [2.5, 97.5]) if finite.size else (value, value)
    found = Interval(value=value, low=min(float(low), value), high=max(float(high), value))
    wide = allow_unseen(found, of=of, bounds=SHARE)
    return wide.low, wide.high


def smallest(grouping: Grouping) -> int:
    """The number of units of its smallest group."""
    numbers = range(len(grouping.groups))
    return min(grouping.units[grouping.at == number].count for number in numbers)


def _rate(counts: Counts, of: NDArray[np.bool_], among: NDArray[np.bool_] | None = None) -> Values:
    """Share of `of`, shape (resamples, groups), NaN where a group has no such records."""
    every = np.ones(CELLS, dtype=bool) if among is None else among
    hits, total = counts[..., of & every].sum(axis=-1), counts[..., every].sum(axis=-1)
    found: Values = np.divide(hits, total, out=np.full_like(hits, np.nan), where=total > 0)
    return found


def _spread(rates: Values) -> Values:
    missing = np.isnan(rates)
    high = np.where(missing, -np.inf, rates).max(axis=1)
    low = np.where(missing, np.inf, rates).min(axis=1)
    comparable = (~missing).sum(axis=1) > 1
    found: Values = np.subtract(high, low, out=np.full_like(high, np.nan), where=comparable)
    return found
