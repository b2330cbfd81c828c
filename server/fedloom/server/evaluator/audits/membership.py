"""Whether an adapter tells records that it was trained on from others like them."""

from collections.abc import Sequence

import numpy as np

from fedloom.server.evaluator.audits.base import (
    Measured,
    Missing,
    Options,
    Records,
    beside_chance,
    figure,
    found_by,
)
from fedloom.server.evaluator.corpus import Corpus, pick
from fedloom.server.evaluator.findings import Chart, Figure, Series
from fedloom.server.evaluator.privacy.membership import (
    AUC_BY_CHANCE,
    Statistic,
    auc,
    resampled,
    roc,
    tpr_at,
)
from fedloom.server.evaluator.statistics import Interval, Values
from fedloom.server.evaluator.subject import Subject
from fedloom.server.evaluator.units import Units
from fedloom.shared.data.records import Record

_LOW_FPR = 0.01
# Below so many units on a side, one in a hundred is nobody.
_LEAST = 100
_POINTS = 60
_CAVEATS = (
    "Both kinds come from one split of the same records, as many of each site; were they "
    "different records, the difference would pass for memory.",
    "This is about the average record. The one that is remembered best may be told far more "
    "easily: planted secrets (canaries) are for that.",
    "No epsilon follows from it: the records of one trained adapter are not independent of each "
    "other, and an interval over them says nothing of another training.",
)
_SOURCES = (
    "S. Yeom et al., Privacy Risk in Machine Learning, CSF 2018",
    "N. Carlini et al., Membership Inference Attacks From First Principles, S&P 2022",
)
# Records of one kind, and whose they are.
_Side = tuple[list[Record], Units]


class MembershipOptions(Options):
    """At most `records` on each side."""

    records: Records = 2000


class Membership:
    """Membership inference by loss."""

    name = "membership"
    title = "Whether it gives away who was trained on"
    asks = "Do its answers tell records that it was trained on from others like them?"

    def __init__(self, options: MembershipOptions) -> None:
        self._options = options

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        """Both sides are needed, and only a simulation has members."""
        if not any(corpus.members.values()):
            return Missing("the records that it was trained on are at hand in a simulation alone")
        (members, inside), (_, outside) = _sides(corpus, self._options.records)
        if not members:
            return Missing("no site has both records that it was trained on and others")
        if _fewest((inside, outside)) < _LEAST:
            of = "records" if inside.alone and outside.alone else "units"
            return Missing(
                f"{inside.count} {of} that it was trained on and {outside.count} others, expected "
                f"{_LEAST} of each at least"
            )
        return ""

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        """How well low losses tell members."""
        sides = _sides(corpus, self._options.records)
        members, others = (-subject.outcomes(records).loss for records, _ in sides)
        (_, inside), (_, outside) = sides
        findings = found_by(self).model_copy(
            update={
                "figures": _attack_figures(members, others, (inside, outside)),
                "charts": (_chart(members, others),),
                "caveats": _CAVEATS,
                "sources": _SOURCES,
            }
        )
        return Measured(findings=findings)


def _sides(corpus: Corpus, records: int) -> tuple[_Side, _Side]:
    """Members and others, as many of each site on either side, evenly picked."""
    shared = [site for site in corpus.members if corpus.tests.get(site)]
    members: list[list[Record]] = []
    others: list[list[Record]] = []
    for site in shared:
        inside, outside = corpus.members[site], corpus.tests[site]
        count = min(len(inside), len(outside), -(-records // max(1, len(shared))))
        members.append([inside[at] for at in pick(count, of=len(inside))])
        others.append([outside[at] for at in pick(count, of=len(outside))])
    return _side(members, corpus, records), _side(others, corpus, records)


def _side(parts: Sequence[Sequence[Record]], corpus: Corpus, records: int) -> _Side:
    joint = [record for part in parts for record in part]
    return joint[:records], Units.of(parts, unit=corpus.unit)[:records]


def _fewest(sides: tuple[Units, Units]) -> int:
    """The smaller side's units: what tells two sides apart is known no better than that one."""
    return min(side.count for side in sides)


def _attack_figures(
    members: Values, others: Values, units: tuple[Units, Units]
) -> tuple[Figure, ...]:
    def at_low(inside: Values, outside: Values) -> float:
        return tpr_at(inside, outside, fpr=_LOW_FPR)

    def drawn(statistic: Statistic) -> Interval:
        return resampled(statistic, members, others, units=units)

    measured = _fewest(units)
    apart = figure(
        "auc",
        "how often a record that it was trained on can be told from another (AUC)",
        drawn(auc),
        records=measured,
        better="lower",
        unit="share",
    )
    found = figure(
        "tpr_at_1_fpr",
        "share of the records trained on that are found when 1 in 100 others is taken for one",
        drawn(at_low),
        records=measured,
        better="lower",
        unit="share",
    )
    return beside_chance(apart, AUC_BY_CHANCE), beside_chance(found, _LOW_FPR)


def _chart(members: Values, others: Values) -> Chart:
    curve = roc(members, others)
    # Charts are linear: the logarithms are what is drawn, so that few false alarms show.
    seen = np.flatnonzero((curve.false_positive > 0) & (curve.true_positive > 0))
    at = seen[np.unique(np.geomspace(1, seen.size, _POINTS).astype(np.int64)) - 1]
    x, y = (np.log10(rates[at]) for rates in (curve.false_positive, curve.true_positive))
    series = Series(name="by loss", x=tuple(map(float, x)), y=tuple(map(float, y)))
    return Chart(
        kind="line",
        title="Records found against false alarms",
        x="share of the others taken for trained on, as a power of 10",
        y="share of the records trained on that are found, as a power of 10",
        series=(series,),
        diagonal=True,
        note="On the diagonal one can only guess. The left end, with few false alarms, counts.",
    )
