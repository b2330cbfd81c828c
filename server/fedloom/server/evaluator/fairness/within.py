"""The gaps of a grouping within each site: a server's mean hides what one site does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fedloom.server.evaluator.fairness.counts import Cells, resampled
from fedloom.server.evaluator.fairness.gaps import Gap, gaps_of
from fedloom.server.evaluator.fairness.grouping import Grouping, parted
from fedloom.server.evaluator.findings import Cell, Table
from fedloom.server.evaluator.units import Units


@dataclass(frozen=True, kw_only=True)
class SiteGap:
    """A grouping at one site, and its accuracy gap there, None where nothing can be compared."""

    site: str
    grouping: Grouping
    gap: Gap | None


def gaps_within(
    cells: Cells,
    sites: Sequence[str],
    name: str,
    values: Sequence[str],
    *,
    units: Units,
    min_group: int,
    resamples: int,
) -> Iterator[SiteGap]:
    """The accuracy gap at each site, between the groups that are large enough there."""
    at, of = np.array(sites), np.array(values)
    for site in dict.fromkeys(sites):
        here = at == site
        grouping = parted(name, of[here].tolist(), units=units[here], min_group=min_group)
        gap = None
        if not grouping.problem:
            (drawn,) = resampled(cells[here], [grouping], resamples=resamples)
            gap = gaps_of(cells[here], grouping, drawn, permutations=resamples)["accuracy_gap"]
        yield SiteGap(site=site, grouping=grouping, gap=gap)


def within_table(name: str, found: Sequence[SiteGap]) -> Table:
    """A row for each site, the worst named below."""
    measured = [(one.gap.value, one.site) for one in found if one.gap is not None]
    worst = f"worst: {max(measured)[1]}" if measured else "no site has two groups to compare"
    left_out = [f"{one.site}{one.grouping.left_out}" for one in found if one.grouping.small]
    return Table(
        title=f"Share right, best minus worst group by {name}, within each site",
        columns=("site", "groups", "records", "gap", "from", "to", "if all were alike", "p"),
        rows=tuple(_row(one) for one in found),
        note=". ".join([f"{worst}; of many sites, some have a small p by chance", *left_out]),
    )


def _row(found: SiteGap) -> tuple[Cell, ...]:
    about = (found.site, len(found.grouping.groups), int(found.grouping.kept.sum()))
    gap = found.gap
    if gap is None:
        return (*about, None, None, None, None, None)
    return (*about, gap.value, gap.low, gap.high, gap.by_chance, gap.p_value)
