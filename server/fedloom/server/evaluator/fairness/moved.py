"""Who is moved towards a label, and who away from it: signed shifts between two groups or words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedloom.server.evaluator.fairness.bars import bars
from fedloom.server.evaluator.fairness.effects import Effects, by_text
from fedloom.server.evaluator.fairness.exchanges import NEUTRAL
from fedloom.server.evaluator.findings import Chart, Table
from fedloom.server.evaluator.statistics import BALANCE, Interval, Values, mean

# Texts of fewer units say too little of one pair of words.
_LEAST_TEXTS = 10
_MOST_PAIRS = 20
_CHANCE = "by chance alone, one interval in twenty leaves out 0"


@dataclass(frozen=True, kw_only=True)
class Moved:
    """By how much a label's probability is higher in the second version, over `texts` texts."""

    axis: str
    first: str
    second: str
    texts: int
    shift: Interval
    flips: float


def moved_groups(effects: Effects) -> list[Moved]:
    """Every two groups, the shift from the first to the second."""
    keys = [(one.axis, one.groups) for one in effects.exchanges]
    found = []
    for axis, groups in dict.fromkeys(keys):
        if groups is not None and axis != NEUTRAL:
            part = effects.where([key == (axis, groups) for key in keys])
            found.append(_moved(axis, *groups, part))
    return found


def moved_words(effects: Effects) -> list[Moved]:
    """Pairs of words in texts of enough units, those that move most first. An exchange of several
    words counts for each of them."""
    places: dict[tuple[str, str, str], list[int]] = {}
    for number, one in enumerate(effects.exchanges):
        if one.groups is not None and one.axis != NEUTRAL:
            for first, second in {(a.casefold(), b.casefold()) for a, b in one.pairs}:
                places.setdefault((one.axis, first, second), []).append(number)
    found = []
    for (axis, first, second), numbers in places.items():
        chosen = np.zeros(len(effects.exchanges), dtype=bool)
        chosen[numbers] = True
        if len({effects.exchanges[at].cluster for at in numbers}) >= _LEAST_TEXTS:
            found.append(_moved(axis, first, second, effects.where(chosen.tolist())))
    found.sort(key=lambda one: -abs(one.shift.value))
    return found[:_MOST_PAIRS]


def moved_table(title: str, found: Sequence[Moved], label: str) -> Table:
    """A row for each pair."""
    return Table(
        title=title,
        columns=("words", "instead of", "put in", "texts", "shift", "from", "to", "label changes"),
        rows=tuple(
            (
                *(one.axis, one.first, one.second, one.texts),
                *(one.shift.value, one.shift.low, one.shift.high, one.flips),
            )
            for one in found
        ),
        note=f"shift: by how much the probability of {label} rises with what is put in; {_CHANCE}",
    )


def moved_chart(found: Sequence[Moved], label: str) -> Chart:
    """Signed shifts with intervals."""
    return Chart(
        kind="bars",
        title=f"Who is moved towards {label}, and who away from it",
        x="what is exchanged",
        y=f"change of the probability of {label}",
        series=(
            bars(
                "shift",
                tuple(f"{one.axis}: {one.first} → {one.second}" for one in found),
                [one.shift for one in found],
            ),
        ),
        note=f"95 % intervals; {_CHANCE}",
    )


def _moved(axis: str, first: str, second: str, part: Effects) -> Moved:
    shifts = by_text(part, part.shifts)
    flips: Values = by_text(part, part.flips.astype(np.float64)).values
    return Moved(
        axis=axis,
        first=first,
        second=second,
        texts=shifts.values.size,
        shift=mean(shifts.values, clusters=shifts.clusters, bounds=BALANCE),
        flips=float(flips.mean()),
    )
