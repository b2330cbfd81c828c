"""Figures, table and drawing of scored explanations."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.stats import binom

from fedloom.server.evaluator.audits.base import figure, mean_figure, share_figure
from fedloom.server.evaluator.explain.edits import Edit
from fedloom.server.evaluator.explain.faithfulness import CURVE, Faithfulness
from fedloom.server.evaluator.explain.gradients import Attribution
from fedloom.server.evaluator.findings import Better, Chart, Figure, Series, Table, Unit
from fedloom.server.evaluator.statistics import SHARE, Interval, Values, mean, paired
from fedloom.server.evaluator.units import Units

_RESAMPLES = 1000
_SCORES: tuple[tuple[str, str, Better, Unit], ...] = (
    (
        "comprehensiveness",
        "how far the answer's probability falls without the words named (comprehensiveness)",
        "higher",
        "difference",
    ),
    (
        "sufficiency",
        "how far the answer's probability falls with those words alone (sufficiency)",
        "lower",
        "difference",
    ),
    (
        "deletion_area",
        "mean probability of the answer as words go, the most important first (deletion curve)",
        "lower",
        "share",
    ),
)


def samples(scores: Faithfulness) -> Mapping[str, Values]:
    """Each score by record."""
    return {
        "comprehensiveness": scores.comprehensiveness,
        "sufficiency": scores.sufficiency,
        "deletion_area": scores.area,
    }


def score_figures(ours: Faithfulness, chance: Faithfulness, units: Units) -> Iterator[Figure]:
    """The three scores, and what the explanation is worth beyond a random order."""
    for key, words, better, unit in _SCORES:
        yield mean_figure(
            key, words, samples(ours)[key], better=better, unit=unit, clusters=units.clusters
        )
    yield mean_figure(
        "comprehensiveness_gain",
        "how much further the probability falls without those words than without random ones",
        ours.comprehensiveness - chance.comprehensiveness,
        better="higher",
        unit="difference",
        clusters=units.clusters,
    )


def edit_figures(
    removals: Sequence[Edit | None], units: Units, *, max_edits: int
) -> Iterator[Figure]:
    """How many words must go before the answer changes, and how often so few are enough."""
    needed = np.array([max_edits + 1 if one is None else len(one.changes) for one in removals])
    yield figure(
        "edits_needed",
        f"words to take out until the answer changes (median); {max_edits + 1} stands for more "
        f"than {max_edits}",
        _median(needed.astype(np.float64), units),
        records=units.count,
        better="none",
        unit="count",
    )
    yield share_figure(
        "edits_found",
        f"share of the texts whose answer changes when up to {max_edits} words are taken out",
        needed <= max_edits,
        better="none",
        clusters=units.clusters,
    )


def gap_figure(attributions: Sequence[Attribution], units: Units) -> Figure:
    """The error of the integral, as a part of what it should be."""
    gaps = np.abs([one.gap for one in attributions])
    whole = float(np.abs([one.difference for one in attributions]).mean())
    return mean_figure(
        "completeness_gap",
        "error of the words' weights, as a share of the sum that they should have",
        # A model that says the same to everything has no difference, and no attributions.
        gaps / whole if whole > 0 else gaps,
        better="zero",
        unit="ratio",
        clusters=units.clusters,
    )


def against_chance(ours: Faithfulness, chance: Faithfulness, units: Units) -> Table:
    """Each score beside that of a random order, in pairs."""
    rows = []
    for key, found in samples(ours).items():
        reference = samples(chance)[key]
        pair = paired(found, reference, clusters=units.clusters)
        rows.append(
            (
                key.replace("_", " "),
                float(found.mean()),
                float(reference.mean()),
                pair.difference,
                pair.low,
                pair.high,
                pair.p_value,
            )
        )
    return Table(
        title="Explanations against a random order of the same words",
        columns=("score", "explanation", "random order", "difference", "from", "to", "p"),
        rows=tuple(rows),
        note="On the same texts; p is the chance of such a difference if there were none. "
        "Explanations that are no better than a random order explain nothing.",
    )


def deletion_chart(ours: Faithfulness, chance: Faithfulness, units: Units) -> Chart:
    """What is left of the answer's probability as words go."""
    return Chart(
        kind="line",
        title="The answer's probability as words are taken out",
        x="share of the words taken out",
        y="probability of the first answer",
        series=(
            _series("most important first", ours, units),
            _series("in random order", chance, units),
        ),
        note="Means over the texts with 95 % intervals. The faster the first line falls below "
        "the second, the better the explanation.",
    )


def _series(name: str, scores: Faithfulness, units: Units) -> Series:
    found = [mean(column, clusters=units.clusters, bounds=SHARE) for column in scores.curve.T]
    return Series(
        name=name,
        x=CURVE,
        y=tuple(one.value for one in found),
        low=tuple(one.low for one in found),
        high=tuple(one.high for one in found),
    )


def _median(values: Values, units: Units) -> Interval:
    """With the interval of order statistics that holds it in 95 % of samples at least, or the
    bootstrap's where a unit has several values."""
    if not units.alone:
        return _drawn_median(values, units)
    ordered = np.sort(values)
    # As many values as lie below the median in fewer than one sample in 40.
    rank = max(0, int(binom.ppf(0.025, values.size, 0.5)) - 1)
    return Interval(
        value=float(np.median(values)), low=float(ordered[rank]), high=float(ordered[-1 - rank])
    )


def _drawn_median(values: Values, units: Units) -> Interval:
    generator = np.random.default_rng(0)
    drawn = [np.median(values[units.drawn(generator)]) for _ in range(_RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(value=float(np.median(values)), low=float(low), high=float(high))
