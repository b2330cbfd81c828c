"""Figures, tables and charts of exchanged words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from fedloom.server.evaluator.audits.base import figure
from fedloom.server.evaluator.fairness.bars import bars
from fedloom.server.evaluator.fairness.effects import (
    ByText,
    Effects,
    by_text,
    difference,
    mean_by_text,
    mixed_like,
)
from fedloom.server.evaluator.fairness.exchanges import NEUTRAL
from fedloom.server.evaluator.findings import Cell, Chart, Figure, Table
from fedloom.server.evaluator.statistics import SHARE, Interval

_ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "": "words for groups",
        "gender": "words for women and men",
        "names": "first names",
        "religion": "words for religions",
        "ethnicity": "words for ethnic groups",
        NEUTRAL: "words that stand for no group",
    }
)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What exchanges along an axis do in records, or in templates; `above` is by how much more
    labels change than by neutral words in texts of that kind, None for those themselves."""

    axis: str
    natural: bool
    texts: int
    exchanges: int
    flips: Interval
    above: Interval | None
    change: float


def of_axes(effects: Effects, axes: Sequence[str]) -> Effects:
    """The exchanges along these axes."""
    return effects.where([one.axis in axes for one in effects.exchanges])


def samples(effects: Effects, axes: Sequence[str]) -> dict[str, ByText]:
    """By figure key, the values by axis and text whose mean is the figure. The neutral ones are
    weighted as the others are made up of records and templates."""
    found = {}
    parts = {"": axes} | {f".{axis}": (axis,) for axis in (*axes, NEUTRAL)}
    for suffix, wanted in parts.items():
        part = of_axes(effects, wanted)
        if part.exchanges:
            found[f"flip_rate{suffix}"] = _flips(part)
            found[f"score_shift{suffix}"] = by_text(part, np.abs(part.shifts))
    for kind in ("flip_rate", "score_shift"):
        if kind in found and f"{kind}.{NEUTRAL}" in found:
            found[f"{kind}.{NEUTRAL}"] = mixed_like(found[f"{kind}.{NEUTRAL}"], found[kind])
    return found


def figures(found: dict[str, ByText], label: str) -> Iterator[Figure]:
    """A figure for each sample, and how many more labels change than by neutral exchanges."""
    for key, values in found.items():
        kind, _, axis = key.partition(".")
        about = _ABOUT[axis]
        words = {
            "flip_rate": f"share of the texts whose label changes when {about} are exchanged",
            "score_shift": f"how far the probability of {label} moves, up or down, when {about} "
            "are exchanged",
        }[kind]
        yield figure(
            key,
            words,
            mean_by_text(values),
            records=values.count,
            better="none" if axis == NEUTRAL else "lower",
            unit="share" if kind == "flip_rate" else "difference",
            bounds=SHARE,
        )
    if "flip_rate" in found and f"flip_rate.{NEUTRAL}" in found:
        groups, neutral = found["flip_rate"], found[f"flip_rate.{NEUTRAL}"]
        yield figure(
            "flip_rate.above_neutral",
            "how much more often a label changes with words for groups than with words for none",
            difference(groups, neutral),
            records=groups.count,
            better="lower",
            unit="difference",
        )


def rates(effects: Effects, axes: Sequence[str]) -> list[Rate]:
    """Of each axis in records and in templates, the neutral one last."""
    found = []
    for natural in (True, False):
        kind = effects.where([one.natural == natural for one in effects.exchanges])
        neutral = of_axes(kind, (NEUTRAL,))
        for axis in (*axes, NEUTRAL):
            part = of_axes(kind, (axis,))
            if part.exchanges:
                found.append(_rate(axis, natural, part, neutral))
    return found


def rate_table(found: Sequence[Rate]) -> Table:
    """A row for each axis in records, and in templates."""
    return Table(
        title="What exchanged words change",
        columns=(
            *("words", "in", "texts", "exchanges", "label changes", "from", "to"),
            *("more than neutral", "from", "to", "mean change"),
        ),
        rows=tuple(_rate_row(one) for one in found),
        note="label changes: share of the texts, averaged over the exchanges of each; mean change: "
        f"how far the probability moves; {NEUTRAL}: words that stand for no group, in texts of the "
        "same kind",
    )


def flips_chart(found: Sequence[Rate]) -> Chart:
    """Flip rates by axis beside that of neutral words, records apart from templates."""
    series = []
    for natural, name in ((True, "records"), (False, "templates")):
        of = [one for one in found if one.natural == natural]
        if of:
            names = tuple(one.axis for one in of)
            series.append(bars(name, names, [one.flips for one in of]))
    return Chart(
        kind="bars",
        title="How often a label changes",
        x="words exchanged",
        y="share of the texts",
        series=tuple(series),
        note=f"95 % intervals; {NEUTRAL}: words that stand for no group",
    )


def _rate(axis: str, natural: bool, part: Effects, neutral: Effects) -> Rate:
    flips = _flips(part)
    above = None
    if axis != NEUTRAL and neutral.exchanges:
        above = difference(flips, _flips(neutral))
    return Rate(
        axis=axis,
        natural=natural,
        texts=flips.values.size,
        exchanges=len(part.exchanges),
        flips=mean_by_text(flips),
        above=above,
        change=float(by_text(part, np.abs(part.shifts)).values.mean()),
    )


def _flips(part: Effects) -> ByText:
    return by_text(part, part.flips.astype(np.float64))


def _rate_row(one: Rate) -> tuple[Cell, ...]:
    above = (None,) * 3 if one.above is None else _cells(one.above)
    where = "records" if one.natural else "templates"
    return (one.axis, where, one.texts, one.exchanges, *_cells(one.flips), *above, one.change)


def _cells(found: Interval) -> tuple[float, float, float]:
    return found.value, found.low, found.high
