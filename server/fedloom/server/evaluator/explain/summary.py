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

_SCORES: tuple[tuple[str, str, Better, Unit], ...] = (
    (
        "comprehensiveness",
        "probability lost when the words said to decide are taken out",
        "higher",
        "difference",
    ),
    ("sufficiency", "probability lost when only those words are left", "lower", "difference"),
    (
        "deletion_area",
        "area under the curve of the probability as words go, most important first",
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


def score_figures(ours: Faithfulness, chance: Faithfulness) -> Iterator[Figure]:
    """The three scores, and what the explanation is worth beyond a random order."""
    for key, words, better, unit in _SCORES:
        yield mean_figure(key, words, samples(ours)[key], better=better, unit=unit)
    yield mean_figure(
        "comprehensiveness_gain",
        "comprehensiveness, less that of a random order of the same words",
        ours.comprehensiveness - chance.comprehensiveness,
        better="higher",
        unit="difference",
    )


def edit_figures(removals: Sequence[Edit | None], *, max_edits: int) -> Iterator[Figure]:
    """How many words must go before the answer changes, and how often so few are enough."""
    needed = np.array([max_edits + 1 if one is None else len(one.changes) for one in removals])
    yield figure(
        "edits_needed",
        f"words to take out until the answer changes, median; {max_edits + 1} stands for more "
        f"than {max_edits}",
        _median(needed.astype(np.float64)),
        records=needed.size,
        better="none",
        unit="count",
    )
    yield share_figure(
        "edits_found",
        f"part of the texts whose answer changes without at most {max_edits} words",
        needed <= max_edits,
        better="none",
    )


def gap_figure(attributions: Sequence[Attribution]) -> Figure:
    """The error of the integral, as a part of what it should be."""
    gaps = np.abs([one.gap for one in attributions])
    whole = float(np.abs([one.difference for one in attributions]).mean())
    return mean_figure(
        "completeness_gap",
        "what attributions miss of the difference that they should add up to, as a part of it",
        # A model that says the same to everything has no difference, and no attributions.
        gaps / whole if whole > 0 else gaps,
        better="zero",
        unit="ratio",
    )


def against_chance(ours: Faithfulness, chance: Faithfulness) -> Table:
    """Each score beside that of a random order, in pairs."""
    rows = []
    for key, found in samples(ours).items():
        reference = samples(chance)[key]
        pair = paired(found, reference)
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
        columns=("score", "explanation", "random order", "difference", "low", "high", "p"),
        rows=tuple(rows),
        note="Pairs on the same texts, with a 95 % interval and a sign-flip test. Explanations "
        "that do not differ from chance explain nothing.",
    )


def deletion_chart(ours: Faithfulness, chance: Faithfulness) -> Chart:
    """What is left of the answer's probability as words go."""
    return Chart(
        kind="line",
        title="The answer's probability as words are taken out",
        x="part of the words taken out",
        y="probability of the first answer",
        series=(_series("most important first", ours), _series("in random order", chance)),
        note="Means over the texts with 95 % intervals. The faster the first line falls below "
        "the second, the better the explanation.",
    )


def _series(name: str, scores: Faithfulness) -> Series:
    found = [mean(column, bounds=SHARE) for column in scores.curve.T]
    return Series(
        name=name,
        x=CURVE,
        y=tuple(one.value for one in found),
        low=tuple(one.low for one in found),
        high=tuple(one.high for one in found),
    )


def _median(values: Values) -> Interval:
    """With the interval of order statistics that holds it in 95 % of samples at least."""
    ordered = np.sort(values)
    # As many values as lie below the median in fewer than one sample in 40.
    rank = max(0, int(binom.ppf(0.025, values.size, 0.5)) - 1)
    return Interval(
        value=float(np.median(values)), low=float(ordered[rank]), high=float(ordered[-1 - rank])
    )
