"""Records counted by group and by all that gaps between groups need to know of them, as they are
and resampled by unit."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.fairness.grouping import Grouping

CELLS = 8
# Which of them are of records that are positive, called positive, and right.
POSITIVE, CALLED, RIGHT = (np.arange(CELLS) & bit > 0 for bit in (4, 2, 1))
_CHUNK = 64

# How many records of each group are in each cell, shape (resamples, groups, 8).
Counts = NDArray[np.float64]
Cells = NDArray[np.int64]


def cells_of(
    positive: NDArray[np.bool_], called: NDArray[np.bool_], right: NDArray[np.bool_]
) -> Cells:
    """One number from 0 to 7 for each record, all that the measures need to know of it."""
    found: Cells = 4 * positive.astype(np.int64) + 2 * called + right
    return found


def counted(cells: Cells, grouping: Grouping) -> Counts:
    """The records as they are: shape (1, groups, 8)."""
    return tally(cells[grouping.kept], grouping.at[grouping.kept], len(grouping.groups))[None]


def resampled(
    cells: Cells, groupings: Sequence[Grouping], *, resamples: int, seed: int = 0
) -> list[Counts]:
    """Bootstrap counts of each grouping, all of the same records; the same draws of units for all
    of them."""
    tables = [by_unit(cells, grouping) for grouping in groupings]
    parts: list[list[Counts]] = [[] for _ in groupings]
    for weights in _weights(len(tables[0]), resamples, seed):
        for drawn, table in zip(parts, tables, strict=True):
            drawn.append((weights @ table).reshape(len(weights), -1, CELLS))
    return [np.concatenate(drawn) for drawn in parts]


def tally(cells: Cells, at: NDArray[np.int64], groups: int) -> Counts:
    """Records by group and cell, shape (groups, 8); `at` has each one's group."""
    found = np.bincount(at * CELLS + cells, minlength=groups * CELLS)
    return found.reshape(groups, CELLS).astype(np.float64)


def by_unit(cells: Cells, grouping: Grouping) -> Counts:
    """Each unit's kept records by group and cell, shape (units, groups * 8)."""
    table = np.zeros((cells.size, len(grouping.groups) * CELLS))
    rows = np.flatnonzero(grouping.kept)
    table[rows, grouping.at[rows] * CELLS + cells[rows]] = 1.0
    return grouping.units.sums(table)


def _weights(count: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Rows of how often each unit is drawn, `_CHUNK` resamples at a time."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        yield generator.multinomial(count, np.full(count, 1 / count), size).astype(np.float64)
