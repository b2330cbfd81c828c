"""The one-run audit in the shape of all findings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.findings import AuditFindings, Cell, Chart, Figure, Series, Table
from fedloom.server.evaluator.privacy.membership import AUC_BY_CHANCE, auc, resampled
from fedloom.server.evaluator.privacy.one_run import GUESSED, OneRunBound
from fedloom.server.evaluator.statistics import Values
from fedloom.simulation.auditing.scores import ALL_ROUNDS, LOSS

NAME = "canaries"
_BINS = 24
_SHOWN = 6
_SOURCES = (
    "T. Steinke, M. Nasr and M. Jagielski, Privacy Auditing with One (1) Training Run, NeurIPS "
    "2023, Theorem 5.2",
)


@dataclass(frozen=True, kw_only=True)
class Planted:
    """What was planted and found.

    `claimed` is the epsilon that `sites` promise in the run with the canaries, None without
    privacy; `seeded` if its noise was repeatable. `evidence` and `inside` are by canary, `bounds`
    the largest first.
    """

    sites: tuple[str, ...]
    claimed: float | None
    delta: float
    seeded: bool
    evidence: Mapping[str, Values]
    inside: NDArray[np.bool_]
    bounds: Sequence[OneRunBound]

    @property
    def scores(self) -> Values:
        """Of the evidence that gives the best bound."""
        return self.evidence[self.bounds[0].evidence]

    @property
    def most(self) -> float:
        """The largest epsilon that the canaries could have shown."""
        return max(bound.most for bound in self.bounds)


def findings_of(planted: Planted) -> AuditFindings:
    """Claimed beside measured, and how the canaries that were in differ from those that were
    not."""
    return AuditFindings(
        audit=NAME,
        title="Privacy, measured",
        asks=(
            "Can records that were trained on be told from others like them, and does that "
            "contradict the promised epsilon?"
        ),
        figures=tuple(_figures(planted)),
        tables=(_table(planted),),
        charts=(_chart(planted),),
        caveats=tuple(_caveats(planted)),
        sources=_SOURCES,
    )


def _figures(planted: Planted) -> Iterator[Figure]:
    bound, canaries = planted.bounds[0], planted.bounds[0].canaries
    if planted.claimed is not None:
        yield Figure(
            key="epsilon_claimed",
            words=f"epsilon that was promised, at delta {planted.delta:g}",
            value=planted.claimed,
            records=canaries,
            better="none",
            unit="epsilon",
        )
    yield Figure(
        key="epsilon_lower_bound",
        words=f"the true epsilon is at least this, with 95 % confidence, at delta "
        f"{planted.delta:g}",
        value=bound.epsilon,
        records=canaries,
        better="lower",
        unit="epsilon",
    )
    yield Figure(
        key="epsilon_most",
        words="the most that these canaries could have shown, had every guess been right",
        value=planted.most,
        records=canaries,
        better="none",
        unit="epsilon",
    )
    counts = (
        ("canaries", "canaries, each in or out by a fair coin", canaries),
        ("guesses", "guesses at their coins behind the bound", bound.guesses),
        ("correct", "guesses that were right", bound.correct),
    )
    for key, words, number in counts:
        yield Figure(
            key=key, words=words, value=number, records=canaries, better="none", unit="count"
        )
    yield from _told_apart(planted)


def _told_apart(planted: Planted) -> Iterator[Figure]:
    members, others = planted.scores[planted.inside], planted.scores[~planted.inside]
    if min(members.size, others.size) == 0:
        return
    found = resampled(auc, members, others)
    yield Figure(
        key="auc",
        words="how often a canary that was in looks more learned than one that was not (AUC)",
        value=found.value,
        low=found.low,
        high=found.high,
        records=planted.scores.size,
        better="lower",
        unit="share",
        chance=AUC_BY_CHANCE,
    )


def _table(planted: Planted) -> Table:
    by_name = {bound.evidence: bound for bound in planted.bounds}
    first = [bound.evidence for bound in planted.bounds[:_SHOWN]]
    names = dict.fromkeys([*first, LOSS, ALL_ROUNDS])
    return Table(
        title="What tells of the canaries",
        columns=("evidence", "epsilon at least", "guesses", "right", "told apart (AUC)"),
        rows=tuple(_row(planted, by_name[name]) for name in names if name in by_name),
        note="All bounds hold together with 95 % confidence. The loss is what anybody can "
        "compute who has the release; gradients need every round's adapter and all other records.",
    )


def _row(planted: Planted, bound: OneRunBound) -> tuple[Cell, ...]:
    scores = planted.evidence[bound.evidence]
    apart = auc(scores[planted.inside], scores[~planted.inside])
    return (
        bound.evidence,
        round(bound.epsilon, 3),
        bound.guesses,
        bound.correct,
        round(apart, 3),
    )


def _chart(planted: Planted) -> Chart:
    edges = np.histogram_bin_edges(planted.scores, bins=_BINS)
    middles = tuple(float(at) for at in (edges[:-1] + edges[1:]) / 2)
    parts = {"in the records": planted.inside, "left out": ~planted.inside}
    return Chart(
        kind="bars",
        title="How much each canary seems to have been learned",
        x=f"score by: {planted.bounds[0].evidence}",
        y="canaries",
        series=tuple(
            Series(
                name=name,
                x=middles,
                y=tuple(float(n) for n in np.histogram(planted.scores[part], bins=edges)[0]),
            )
            for name, part in parts.items()
        ),
        note="The less the two differ, the less the adapter tells of single records.",
    )


def _caveats(planted: Planted) -> Iterator[str]:
    yield (
        "A lower bound: it can show that a promise is broken, not that it is kept. A small one "
        "may mean good privacy or a weak attack."
    )
    yield (
        f"It speaks of a run of its own with canaries at {', '.join(planted.sites)}, whose plan "
        "declares half of them beside the site's own units; the promise is that plan's."
    )
    if planted.claimed is not None and planted.most < planted.claimed:
        yield (
            f"These {planted.inside.size} canaries could not have contradicted epsilon "
            f"{planted.claimed:.2f}: at most {planted.most:.2f}."
        )
    kinds = len(planted.evidence)
    yield (
        f"{kinds} kinds of evidence were tried, each with {len(GUESSED)} numbers of guesses that "
        "were fixed beforehand. They share the 5 % between them (Bonferroni), so that the largest "
        "bound holds with 95 %."
    )
    if planted.seeded:
        yield "SEEDED: NOT PRIVATE. The noise of this run was repeatable and protects nobody."
