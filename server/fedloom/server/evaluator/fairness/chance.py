"""What gaps between groups would be by chance, if all groups were alike.

Where units can be exchanged, the groups are dealt out among them anew, which is exact. A unit of
40 records and one of 1 cannot, nor can the parts of one unit that is in several groups: there the
wild cluster bootstrap takes its place (Cameron, Gelbach & Miller 2008).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.fairness.counts import CELLS, Cells, Counts, by_unit, tally
from fedloom.server.evaluator.fairness.grouping import Grouping

_CHUNK = 64


def as_if_alike(cells: Cells, grouping: Grouping, *, draws: int, seed: int = 1) -> Counts:
    """Counts as they might be if the model did alike for all groups, shape (draws, groups, 8)."""
    generator = np.random.default_rng(seed)
    if exchangeable(grouping):
        return _dealt(cells, grouping, draws, generator)
    return np.concatenate(list(_flipped(by_unit(cells, grouping), draws, generator)))


def exchangeable(grouping: Grouping) -> bool:
    """Whether each unit is in one group, and all have as many records."""
    units, at = grouping.units[grouping.kept], grouping.at[grouping.kept]
    if units.alone:
        return True
    parts, sizes = np.unique(np.stack([units.numbers, at]), axis=1, return_counts=True)
    return parts.shape[1] == units.count and bool(np.ptp(sizes) == 0)


def in_words(grouping: Grouping) -> str:
    """What was done to a grouping to find what chance would show."""
    if not exchangeable(grouping):
        return "what each unit lies off the mean of all changes its sign at random"
    of = "records" if grouping.units.alone else "units"
    return f"{of} are dealt out to the groups at random"


def _dealt(cells: Cells, grouping: Grouping, draws: int, generator: np.random.Generator) -> Counts:
    """The groups dealt out among the units anew; a unit's records stay together."""
    kept, at = cells[grouping.kept], grouping.at[grouping.kept]
    _, first, unit = np.unique(
        grouping.units[grouping.kept].numbers, return_index=True, return_inverse=True
    )
    size, of = len(grouping.groups), at[first]
    return np.stack([tally(kept, generator.permutation(of)[unit], size) for _ in range(draws)])


def _flipped(table: Counts, draws: int, generator: np.random.Generator) -> Iterator[Counts]:
    """What each unit has more or less in each cell than the mean says changes its sign at random,
    with the same sign in all groups: its size, and how alike its parts are, stay.

    The mean is of the groups' shares, each weighted by its units: weighted by records it would be
    that of the group with the large units, whose own error would then be lost.
    """
    own = table.reshape(len(table), -1, CELLS)
    sizes = own.sum(axis=2, keepdims=True)
    totals, weights = sizes.sum(axis=0), (sizes > 0).sum(axis=0) / (sizes > 0).sum()
    mean = (weights * own.sum(axis=0) / totals).sum(axis=0)
    off: NDArray[np.float64] = (own - sizes * mean).reshape(len(table), -1)
    for start in range(0, draws, _CHUNK):
        signs = generator.integers(2, size=(min(_CHUNK, draws - start), len(table))) * 2.0 - 1
        moved = (signs @ off).reshape(len(signs), -1, CELLS) / totals
        # The mean stays, as it does where records are dealt out.
        moved -= (weights * moved).sum(axis=1, keepdims=True)
        yield np.maximum(totals * (mean + moved), 0.0)
