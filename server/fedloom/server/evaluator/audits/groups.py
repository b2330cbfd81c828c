"""Whether it treats groups of records alike: labelled groups, sites, and whom a text mentions.

Equalised odds after Hardt et al. 2016, demographic parity after Dwork et al. 2012; rates of each
group by fairlearn. Beside each gap stands what alike groups would show by chance.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from pydantic import Field

from fedloom.server.evaluator.audits.base import Measured, Missing, Options, clusters_of, found_by
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.fairness import group_findings as shown
from fedloom.server.evaluator.fairness.chance import exchangeable
from fedloom.server.evaluator.fairness.counts import resampled
from fedloom.server.evaluator.fairness.gaps import MEASURES, gaps_of
from fedloom.server.evaluator.fairness.grouping import (
    LEAST_NAMED,
    Grouping,
    parted,
    values_by_grouping,
)
from fedloom.server.evaluator.fairness.mentions import CAVEAT, MENTIONS, mentioned
from fedloom.server.evaluator.fairness.positive import positive_label
from fedloom.server.evaluator.fairness.rates import Said, rates_by_group, said_to, units_of_worst
from fedloom.server.evaluator.fairness.within import gaps_within, within_table
from fedloom.server.evaluator.findings import Chart, Figure, Table
from fedloom.server.evaluator.statistics import Values
from fedloom.server.evaluator.subject import Subject
from fedloom.server.evaluator.units import Units
from fedloom.shared.config.data import SITE

_CAVEATS = (
    "The gap between the best and the worst group is above 0 by chance alone, and its interval "
    "leans upwards: compare it with what stands beside it as by chance, its mean if all groups "
    "were alike.",
    "A group may rightly be given a label more often than another, if more of its records truly "
    "have it: such a difference alone is no fault.",
)
_NOT_EXCHANGEABLE = (
    "units have unlike numbers of records, or records in several groups; what chance would show, "
    "and p, are approximations there, and p is too small where a group has very few wrong answers."
)
_SOURCES = (
    "Hardt, Price, Srebro 2016, Equality of opportunity in supervised learning",
    "Weerts et al. 2023, Fairlearn: assessing and improving fairness of AI systems",
)


class GroupsOptions(Options):
    """Groups of fewer than `min_group` privacy units are left out, and told by number. `positive`
    is the label that counts as selected, the last by default; `mentions` adds a grouping out of the
    texts; `resamples` of the bootstrap, and draws as if all groups were alike, behind each gap."""

    min_group: int = Field(default=30, ge=LEAST_NAMED)
    positive: str | None = None
    mentions: bool = True
    resamples: int = Field(default=1000, ge=1, le=100_000)


class Groups:
    """Accuracy, selection and errors by group; the gaps between groups, also within each site."""

    name = "groups"
    title = "Whether groups are treated alike"
    asks = "Is it as often right, and does it judge alike, for each group and at each site?"

    def __init__(self, options: GroupsOptions) -> None:
        self._options = options

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        """Labelled records, a label set and two groups are needed."""
        if not subject.labels:
            return "it answers in free text: there are no labels to count"
        if not corpus.joint:
            return Missing("no labelled records were given")
        problems = [one.problem for one in self._groupings(corpus)]
        return Missing("; ".join(problems)) if all(problems) else ""

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        """Gaps of every grouping; right or wrong by record of each group."""
        positive = positive_label(self._options.positive, subject.labels)
        said = said_to(subject, corpus, positive)
        every = self._groupings(corpus)
        usable = [one for one in every if not one.problem]
        figures, tables, charts = self._found(said, usable, subject.labels[positive])
        findings = found_by(self).model_copy(
            update={
                "figures": tuple(figures),
                "tables": (*tables, *self._within(said, corpus)),
                "charts": tuple(charts),
                "caveats": (*_CAVEATS, *_remarks(every, figures)),
                "sources": _SOURCES,
            }
        )
        own = {f"accuracy.{name}": (right, of) for name, right, of in _by_group(said, usable)}
        return Measured(
            findings=findings,
            samples={key: right for key, (right, _) in own.items()},
            clusters=clusters_of({key: of for key, (_, of) in own.items()}),
        )

    def _found(
        self, said: Said, groupings: Sequence[Grouping], label: str
    ) -> tuple[list[Figure], list[Table], list[Chart]]:
        resamples, cells = self._options.resamples, said.cells
        drawn = resampled(cells, groupings, resamples=resamples)
        gaps = [
            gaps_of(cells, one, counts, permutations=resamples)
            for one, counts in zip(groupings, drawn, strict=True)
        ]
        rated = [list(rates_by_group(said, one)) for one in groupings]
        worst = [units_of_worst(rates) for rates in rated]
        figures = list(shown.worst_figures(groupings, gaps, drawn, worst_of=worst))
        tables, charts = [], []
        for one, found, rates, units in zip(groupings, gaps, rated, worst, strict=True):
            figures += shown.gap_figures(one, found, label, worst=units)
            figures += shown.group_figures(one, rates)
            tables += [shown.group_table(one, rates, label), shown.gap_table(one, found, label)]
            charts.append(shown.chart(one, rates, label))
        return figures, tables, charts

    def _within(self, said: Said, corpus: Corpus) -> Iterator[Table]:
        if len(corpus.tests) < 2:
            return
        for name, values in self._values(corpus).items():
            if name != SITE:
                found = gaps_within(
                    said.cells,
                    corpus.sites,
                    name,
                    values,
                    units=corpus.units,
                    min_group=self._options.min_group,
                    resamples=self._options.resamples,
                )
                yield within_table(name, list(found))

    def _groupings(self, corpus: Corpus) -> list[Grouping]:
        sites = tuple(corpus.tests)
        return [
            parted(
                name,
                values,
                units=corpus.units,
                min_group=self._options.min_group,
                expected=sites if name == SITE else (),
            )
            for name, values in self._values(corpus).items()
        ]

    def _values(self, corpus: Corpus) -> Mapping[str, tuple[str, ...]]:
        found = dict(values_by_grouping(corpus))
        if self._options.mentions and MENTIONS not in found:
            found[MENTIONS] = mentioned(corpus.joint)
        return found


def _remarks(groupings: Sequence[Grouping], figures: Sequence[Figure]) -> Iterator[str]:
    keys = {figure.key for figure in figures}
    for one in groupings:
        if one.problem:
            yield one.problem
        elif one.small:
            yield f"{one.name}: {one.left_out.removeprefix('; ')}"
        if not one.problem and not exchangeable(one):
            yield f"{one.name}: {_NOT_EXCHANGEABLE}"
        for measure in MEASURES if not one.problem else ():
            if f"{measure}.{one.name}" not in keys:
                name = measure.replace("_", " ")
                yield f"{one.name}, {name}: not measured, at most one group has both labels"
        if one.name == MENTIONS:
            yield CAVEAT


def _by_group(said: Said, groupings: Sequence[Grouping]) -> Iterator[tuple[str, Values, Units]]:
    """Right or wrong by record of each group, `GROUPING.GROUP`, and whose the records are."""
    right = said.right.astype(np.float64)
    for one in groupings:
        for number, group in enumerate(one.groups):
            own = one.at == number
            yield f"{one.name}.{group}", right[own], one.units[own]
