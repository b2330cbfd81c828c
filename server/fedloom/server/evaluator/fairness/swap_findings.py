"""Figures, tables and charts of exchanged words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fedloom.server.evaluator.audits.base import figure
from fedloom.server.evaluator.fairness.effects import (
    ByText,
    Effects,
    by_text,
    difference,
    mean_by_text,
)
from fedloom.server.evaluator.fairness.exchanges import NEUTRAL
from fedloom.server.evaluator.findings import Cell, Chart, Figure, Series, Table
from fedloom.server.evaluator.statistics import Interval, Values, mean

# Fewer texts say too little of one pair of words.
_LEAST_TEXTS = 10
_MOST_PAIRS = 20
_CHANCE = "of twenty intervals, one leaves out 0 by chance"


@dataclass(frozen=True, kw_only=True)
class Moved:
    """By how much a label's probability is higher in the second version, over `texts` texts."""

    axis: str
    first: str
    second: str
    texts: int
    shift: Interval
    flips: float


def of_axes(effects: Effects, axes: Sequence[str]) -> Effects:
    """The exchanges along these axes."""
    return effects.where([one.axis in axes for one in effects.exchanges])


def samples(effects: Effects, axes: Sequence[str]) -> dict[str, ByText]:
    """By figure key, the values by axis and text whose mean is the figure."""
    found = {}
    parts = {"": axes} | {f".{axis}": (axis,) for axis in (*axes, NEUTRAL)}
    for suffix, wanted in parts.items():
        part = of_axes(effects, wanted)
        if part.exchanges:
            found[f"flip_rate{suffix}"] = by_text(part, part.flips.astype(np.float64))
            found[f"score_shift{suffix}"] = by_text(part, np.abs(part.shifts))
    return found


def figures(found: dict[str, ByText], label: str) -> Iterator[Figure]:
    """A figure for each sample, and how many more labels change than by neutral exchanges."""
    for key, values in found.items():
        kind, _, axis = key.partition(".")
        about = {"": "words for groups", NEUTRAL: "neutral words"}.get(axis, f"words of {axis}")
        words = {
            "flip_rate": f"part of the texts whose label changes when {about} are exchanged",
            "score_shift": f"mean change of the probability of {label}, up or down, when {about} "
            "are exchanged",
        }[kind]
        yield figure(
            key,
            words,
            mean_by_text(values),
            records=values.count,
            better="none" if axis == NEUTRAL else "lower",
            unit="share" if kind == "flip_rate" else "difference",
        )
    if "flip_rate" in found and f"flip_rate.{NEUTRAL}" in found:
        groups, neutral = found["flip_rate"], found[f"flip_rate.{NEUTRAL}"]
        yield figure(
            "flip_rate.above_neutral",
            "how many more labels change when words for groups are exchanged than by neutral words",
            difference(groups, neutral),
            records=groups.count,
            better="lower",
            unit="difference",
        )


def axis_table(effects: Effects, axes: Sequence[str]) -> Table:
    """A row for each axis in records, and in templates."""
    rows = []
    for axis in (*axes, NEUTRAL):
        for natural, where in ((True, "records"), (False, "templates")):
            part = effects.where(
                [one.axis == axis and one.natural == natural for one in effects.exchanges]
            )
            if part.exchanges:
                rows.append(_axis_row(axis, where, part))
    return Table(
        title="What exchanged words change",
        columns=("words", "in", "texts", "exchanges", "flips", "low", "high", "mean change"),
        rows=tuple(rows),
        note="flips: part of the texts whose label changes, averaged over the exchanges of each; "
        f"{NEUTRAL}: what words do that stand for no group",
    )


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
    """Pairs of words in enough texts, those that move most first. An exchange of several words
    counts for each of them."""
    places: dict[tuple[str, str, str], list[int]] = {}
    for number, one in enumerate(effects.exchanges):
        if one.groups is not None and one.axis != NEUTRAL:
            for first, second in {(a.casefold(), b.casefold()) for a, b in one.pairs}:
                places.setdefault((one.axis, first, second), []).append(number)
    found = []
    for (axis, first, second), numbers in places.items():
        chosen = np.zeros(len(effects.exchanges), dtype=bool)
        chosen[numbers] = True
        if len({effects.exchanges[at].source for at in numbers}) >= _LEAST_TEXTS:
            found.append(_moved(axis, first, second, effects.where(chosen.tolist())))
    found.sort(key=lambda one: -abs(one.shift.value))
    return found[:_MOST_PAIRS]


def moved_table(title: str, found: Sequence[Moved], label: str) -> Table:
    """A row for each pair."""
    return Table(
        title=title,
        columns=("words", "instead of", "with", "texts", "shift", "low", "high", "flips"),
        rows=tuple(
            (
                *(one.axis, one.first, one.second, one.texts),
                *(one.shift.value, one.shift.low, one.shift.high, one.flips),
            )
            for one in found
        ),
        note=f"shift: by how much the probability of {label} rises when the second stands instead "
        f"of the first; {_CHANCE}",
    )


def moved_chart(found: Sequence[Moved], label: str) -> Chart:
    """Signed shifts with intervals."""
    return Chart(
        kind="bars",
        title=f"Who is moved towards {label}, and who away from it",
        x="instead of, with",
        y=f"change of the probability of {label}",
        series=(
            _bars(
                "shift",
                tuple(f"{one.axis}: {one.first}, {one.second}" for one in found),
                [one.shift for one in found],
            ),
        ),
        note=f"95 % intervals; {_CHANCE}",
    )


def flips_chart(found: Sequence[Figure]) -> Chart:
    """Flip rates by axis beside that of neutral words."""
    shown = [one for one in found if one.key.startswith("flip_rate.") and one.unit == "share"]
    intervals = [
        Interval(value=one.value, low=one.low or 0.0, high=one.high or 0.0) for one in shown
    ]
    names = tuple(one.key.removeprefix("flip_rate.") for one in shown)
    return Chart(
        kind="bars",
        title="How often a label changes",
        x="words exchanged",
        y="part of the texts",
        series=(_bars("flips", names, intervals),),
        note="95 % intervals; neutral: words that stand for no group",
    )


def _axis_row(axis: str, where: str, part: Effects) -> tuple[Cell, ...]:
    flips = by_text(part, part.flips.astype(np.float64))
    rate = mean_by_text(flips)
    changed = float(by_text(part, np.abs(part.shifts)).values.mean())
    return (
        *(axis, where, flips.count, len(part.exchanges)),
        *(rate.value, rate.low, rate.high, changed),
    )


def _moved(axis: str, first: str, second: str, part: Effects) -> Moved:
    shifts = by_text(part, part.shifts)
    flips: Values = by_text(part, part.flips.astype(np.float64)).values
    return Moved(
        axis=axis,
        first=first,
        second=second,
        texts=shifts.count,
        shift=mean(shifts.values, clusters=shifts.texts),
        flips=float(flips.mean()),
    )


def _bars(name: str, x: tuple[str, ...], found: Sequence[Interval]) -> Series:
    return Series(
        name=name,
        x=x,
        y=tuple(one.value for one in found),
        low=tuple(one.low for one in found),
        high=tuple(one.high for one in found),
    )
