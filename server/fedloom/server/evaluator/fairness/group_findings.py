"""Figures, tables and charts of groups."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fedloom.server.evaluator.audits.base import beside_chance, figure
from fedloom.server.evaluator.fairness.bars import bars
from fedloom.server.evaluator.fairness.chance import in_words
from fedloom.server.evaluator.fairness.counts import Counts
from fedloom.server.evaluator.fairness.gaps import MEASURES, Gap, interval, smallest
from fedloom.server.evaluator.fairness.grouping import Grouping
from fedloom.server.evaluator.fairness.rates import GroupRates
from fedloom.server.evaluator.findings import Better, Chart, Figure, Table, Unit
from fedloom.server.evaluator.statistics import Interval

Gaps = Mapping[str, Gap]

_SMALL: tuple[Better, Unit] = ("lower", "difference")
# By measure: what it is, in words, of a grouping and a label; and what one would like.
_WORDS: Mapping[str, tuple[str, tuple[Better, Unit]]] = {
    "accuracy_gap": ("share right, best minus worst group by {group}", _SMALL),
    "worst_accuracy": ("share right in the worst group by {group}", ("higher", "share")),
    "demographic_parity": (
        "share called {label}, highest minus lowest group by {group}",
        _SMALL,
    ),
    "equalised_odds": (
        "share called {label} of those that truly are, or of those that are not: whichever "
        "differs more between groups by {group}",
        _SMALL,
    ),
}
_RATES = (
    *("right", "from", "to", "called {label}", "from", "to"),
    *("rightly called {label}", "wrongly called {label}"),
)


def gap_figures(grouping: Grouping, gaps: Gaps, label: str, *, worst: int) -> Iterator[Figure]:
    """One for each measure, `MEASURE.GROUPING`; the group that is worst off has `worst` units."""
    for name, gap in gaps.items():
        words, (better, unit) = _WORDS[name]
        found = figure(
            f"{name}.{grouping.name}",
            words.format(group=grouping.name, label=label),
            Interval(value=gap.value, low=gap.low, high=gap.high),
            records=worst if name == "worst_accuracy" else grouping.units[grouping.kept].count,
            better=better,
            unit=unit,
        )
        yield beside_chance(found, gap.by_chance)


def worst_figures(
    groupings: Sequence[Grouping],
    gaps: Sequence[Gaps],
    drawn: Sequence[Counts],
    *,
    worst_of: Sequence[int],
) -> Iterator[Figure]:
    """The largest accuracy gap and the lowest accuracy over all groupings; the interval is of
    the worst grouping of each resample, and chance the mean of the worst of each draw. Both are
    known no better than their grouping's worst group, of which `worst_of` has the units."""
    for key, name, worst in (
        ("worst_group_gap", "accuracy_gap", np.max),
        ("worst_group_accuracy", "worst_accuracy", np.min),
    ):
        value = float(worst([one[name].value for one in gaps]))
        at = next(number for number, one in enumerate(gaps) if one[name].value == value)
        resamples = worst([MEASURES[name].of(one) for one in drawn], axis=0)
        low, high = interval(value, resamples, of=min(map(smallest, groupings)))
        _, (better, unit) = _WORDS[name]
        found = figure(
            key,
            f"{_WORDS[name][0].format(group=groupings[at].name)}, the worst of all groupings",
            Interval(value=value, low=low, high=high),
            records=worst_of[at],
            better=better,
            unit=unit,
        )
        yield beside_chance(found, float(worst([one[name].dealt for one in gaps], axis=0).mean()))


def group_figures(grouping: Grouping, rates: Sequence[GroupRates]) -> Iterator[Figure]:
    """The accuracy of each group, `accuracy.GROUPING.GROUP`."""
    for one in rates:
        yield figure(
            f"accuracy.{grouping.name}.{one.group}",
            f"share right where {grouping.name} is {one.group}",
            one.accuracy,
            records=one.units,
            better="higher",
            unit="share",
        )


def group_table(grouping: Grouping, rates: Sequence[GroupRates], label: str) -> Table:
    """A row for each group."""
    return Table(
        title=f"Groups by {grouping.name}",
        columns=("group", "records", *(name.format(label=label) for name in _RATES)),
        rows=tuple(
            (
                one.group,
                one.records,
                *(one.accuracy.value, one.accuracy.low, one.accuracy.high),
                *(one.called.value, one.called.low, one.called.high),
                *(one.tpr, one.fpr),
            )
            for one in rates
        ),
        note=f"rightly called {label}: share of those that truly are; wrongly: share of the others"
        + grouping.left_out,
    )


def gap_table(grouping: Grouping, gaps: Gaps, label: str) -> Table:
    """A row for each measure, beside what alike groups would show."""
    return Table(
        title=f"Gaps between groups by {grouping.name}",
        columns=("measure", "value", "from", "to", "if all were alike", "p"),
        rows=tuple(
            (
                _WORDS[name][0].format(group=grouping.name, label=label),
                *(gap.value, gap.low, gap.high, gap.by_chance, gap.p_value),
            )
            for name, gap in gaps.items()
        ),
        note=f"if all were alike: the mean when {in_words(grouping)}; p: how often that is as "
        "bad as what was found",
    )


def chart(grouping: Grouping, rates: Sequence[GroupRates], label: str) -> Chart:
    """Bars for each group, with 95 % intervals."""
    names = tuple(one.group for one in rates)
    return Chart(
        kind="bars",
        title=f"Groups by {grouping.name}",
        x=grouping.name,
        y="share of the group's records",
        series=(
            bars("right", names, [one.accuracy for one in rates]),
            bars(f"called {label}", names, [one.called for one in rates]),
        ),
        note="95 % intervals",
    )
