"""Gaps between groups, what resampling makes of them, and what chance alone would.

All measures are functions of how many records of a group are positive, called positive, and
right, so that a resample is a table of counts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.fairness.grouping import Grouping
from fedloom.server.evaluator.statistics import SHARE, Interval, Values, allow_unseen

_CELLS = 8
_POSITIVE, _CALLED, _RIGHT = (np.arange(_CELLS) & bit > 0 for bit in (4, 2, 1))
_CHUNK = 64

# How many records of each group are in each cell, shape (resamples, groups, 8).
Counts = NDArray[np.float64]
Cells = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A measure with its 95 % bootstrap interval over units. `dealt` has it for permutations of
    the groups among the units, shape (permutations,), NaN where it cannot be measured;
    `by_chance` is their mean, and `p_value` how often one is as bad."""

    value: float
    low: float
    high: float
    by_chance: float
    p_value: float
    dealt: Values = field(repr=False, compare=False)


def cells_of(
    positive: NDArray[np.bool_], called: NDArray[np.bool_], right: NDArray[np.bool_]
) -> Cells:
    """One number from 0 to 7 for each record, all that the measures need to know of it."""
    found: Cells = 4 * positive.astype(np.int64) + 2 * called + right
    return found


def accuracy_gap(counts: Counts) -> Values:
    """Best minus worst accuracy, shape (resamples,); NaN where fewer than two groups have one."""
    return _spread(_rate(counts, _RIGHT))


def worst_accuracy(counts: Counts) -> Values:
    """The lowest accuracy."""
    rates = _rate(counts, _RIGHT)
    lowest: Values = np.where(np.isnan(rates), np.inf, rates).min(axis=1)
    return lowest


def demographic_parity(counts: Counts) -> Values:
    """Highest minus lowest share that is called positive."""
    return _spread(_rate(counts, _CALLED))


def equalised_odds(counts: Counts) -> Values:
    """The larger of the spreads of TPR and FPR (Hardt et al. 2016; as in fairlearn).

    NaN unless both can be compared: a group without positives has no TPR, and is passed over.
    """
    true = _spread(_rate(counts, _CALLED, among=_POSITIVE))
    false = _spread(_rate(counts, _CALLED, among=~_POSITIVE))
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


def counted(cells: Cells, grouping: Grouping) -> Counts:
    """The records as they are: shape (1, groups, 8)."""
    return _tally(cells[grouping.kept], grouping.at[grouping.kept], len(grouping.groups))[None]


def resampled(
    cells: Cells, groupings: Sequence[Grouping], *, resamples: int, seed: int = 0
) -> list[Counts]:
    """Bootstrap counts of each grouping, all of the same records; the same draws of units for all
    of them."""
    tables = [grouping.units.sums(_one_hot(cells, grouping)) for grouping in groupings]
    parts: list[list[Counts]] = [[] for _ in groupings]
    for weights in _weights(len(tables[0]), resamples, seed):
        for drawn, table in zip(parts, tables, strict=True):
            drawn.append((weights @ table).reshape(len(weights), -1, _CELLS))
    return [np.concatenate(drawn) for drawn in parts]


def permuted(cells: Cells, grouping: Grouping, *, permutations: int, seed: int = 1) -> Counts:
    """Counts with the groups dealt out among the units anew, as if all were alike.

    A unit's records of one group stay together. Where units have records of several groups, such
    parts are dealt out by themselves, although parts of one unit are more alike than others: gaps
    between groups then come out larger by chance than they would, and p-values on the safe side.
    """
    generator = np.random.default_rng(seed)
    kept, part, at = cells[grouping.kept], *_parts(grouping)
    size = len(grouping.groups)
    return np.stack(
        [_tally(kept, generator.permutation(at)[part], size) for _ in range(permutations)]
    )


def _parts(grouping: Grouping) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each kept record, which unit's records of one group it belongs to; and each such part's
    group."""
    units, at = grouping.units[grouping.kept], grouping.at[grouping.kept]
    if units.alone:
        return units.numbers, at
    both = np.stack([units.numbers, at], axis=1)
    found, part = np.unique(both, axis=0, return_inverse=True)
    return part.reshape(-1), found[:, 1]


def gaps_of(
    cells: Cells, grouping: Grouping, drawn: Counts, *, permutations: int
) -> Mapping[str, Gap]:
    """A grouping's gaps by the names of `MEASURES`, those that its records let be measured."""
    counts = counted(cells, grouping)
    dealt = permuted(cells, grouping, permutations=permutations)
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
    every = np.ones(_CELLS, dtype=bool) if among is None else among
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


def _tally(cells: Cells, at: NDArray[np.int64], groups: int) -> Counts:
    found = np.bincount(at * _CELLS + cells, minlength=groups * _CELLS)
    return found.reshape(groups, _CELLS).astype(np.float64)


def _one_hot(cells: Cells, grouping: Grouping) -> NDArray[np.float64]:
    table = np.zeros((cells.size, len(grouping.groups) * _CELLS))
    rows = np.flatnonzero(grouping.kept)
    table[rows, grouping.at[rows] * _CELLS + cells[rows]] = 1.0
    return table


def _weights(count: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Rows of how often each unit is drawn, `_CHUNK` resamples at a time."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        yield generator.multinomial(count, np.full(count, 1 / count), size).astype(np.float64)
