"""How good an adapter is where it may leave the cases that it is unsure of to a person."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedloom.server.evaluator.audits.base import Measured, Missing, Options, figure, found_by
from fedloom.server.evaluator.audits.calibration import confidence
from fedloom.server.evaluator.audits.validation import Resamples
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import Chart, Figure, Series
from fedloom.server.evaluator.statistics import SHARE, Interval, Values, allow_unseen
from fedloom.server.evaluator.subject import Subject
from fedloom.server.evaluator.units import Units

Coverage = Annotated[float, Field(gt=0, le=1)]
# Places of the curve: every 5 % of the records.
_CURVE = tuple(place / 20 for place in range(1, 21))


class SelectiveOptions(Options):
    """`coverages` are the parts of the records that it must answer itself."""

    coverages: tuple[Coverage, ...] = Field(default=(0.8, 0.5), min_length=1)
    resamples: Resamples = 1000


@dataclass(frozen=True, kw_only=True)
class RiskCoverage:
    """`accuracy` among the surest records by coverage, in the order asked for, of how many units
    they are, `answered`, and the `area` under the curve of errors: the mean error rate over all
    coverages."""

    accuracy: Mapping[float, Interval]
    answered: Mapping[float, int]
    area: Interval


class Selective:
    """Accuracy where only the surest part is answered, and the area under the risk-coverage curve
    (AURC; Geifman & El-Yaniv 2017).

    Records of equal confidence count as their mean: the order among them is chance. Intervals are
    percentiles of the bootstrap over units, whose records are sorted anew each time.
    """

    name = "selective"
    title = "How good it is if it may leave hard cases to a person"
    asks = "If a person takes the cases that it is unsure of, how often is it right on the rest?"

    def __init__(self, options: SelectiveOptions) -> None:
        self._options = options

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        """Probabilities of labels are needed."""
        if not subject.labels:
            return "it answers in free text, without a confidence to sort by"
        return "" if corpus.joint else Missing("no labelled records were given")

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        """Figures at each coverage, the area and the curve."""
        outcomes, asked = subject.outcomes(corpus.joint), self._options
        found = risk_coverage(
            confidence(outcomes),
            outcomes.right,
            units=corpus.units,
            coverages=(*_CURVE, *asked.coverages),
            resamples=asked.resamples,
        )
        findings = found_by(self).model_copy(
            update={
                "figures": tuple(self._figures(found, corpus.units.count)),
                "charts": (_chart(found),),
                "sources": (
                    "Geifman & El-Yaniv 2017, Selective classification for deep neural networks",
                ),
            }
        )
        return Measured(findings=findings)

    def _figures(self, found: RiskCoverage, count: int) -> Iterator[Figure]:
        for at in self._options.coverages:
            key, words = (
                f"accuracy_at_{at * 100:g}",
                f"share right, of the {at * 100:g} % of records that it is surest of",
            )
            accuracy = found.accuracy[at]
            of = found.answered[at]
            yield figure(key, words, accuracy, records=of, better="higher", unit="share")
        words = "share wrong, averaged from answering its surest record to answering all (AURC)"
        yield figure("aurc", words, found.area, records=count, better="lower", unit="share")


def risk_coverage(
    sure: Values,
    right: NDArray[np.bool_],
    *,
    units: Units,
    coverages: Sequence[float],
    resamples: int,
) -> RiskCoverage:
    """Of n records by their confidence and whether they came out right, shape (n,), of these units.

    A coverage of c means the surest c * n records, rounded up.
    """
    count = sure.size
    generator = np.random.default_rng(0)
    # Ties stand in an order of chance, or resamples would know no difference among them.
    order = np.lexsort((generator.permutation(count), -sure))
    hits, units = right[order].astype(np.float64), units[order]
    value = _risks(_tied(sure[order], hits), coverages)
    rows = [_risks(hits[units.drawn(generator)], coverages) for _ in range(resamples)]
    low, high = np.percentile(rows, [2.5, 97.5], axis=0)
    last = _last(coverages, count).tolist()
    answered = {at: units[: place + 1].count for at, place in zip(coverages, last, strict=True)}
    accuracy = {
        coverage: _between(1 - v, 1 - highest, 1 - lowest, of=answered[coverage])
        for coverage, v, lowest, highest in zip(coverages, value, low, high, strict=False)
    }
    area = _between(value[-1], low[-1], high[-1], of=units.count)
    return RiskCoverage(accuracy=accuracy, answered=answered, area=area)


def _between(value: float, low: float, high: float, *, of: int) -> Interval:
    found = Interval(value=float(value), low=float(low), high=float(high))
    return allow_unseen(found, of=of, bounds=SHARE)


def _last(coverages: Sequence[float], count: int) -> NDArray[np.int64]:
    """The place of the last record that is answered, by coverage."""
    return np.ceil(np.array(coverages) * count - 1e-9).astype(np.int64) - 1


def _risks(hits: Values, coverages: Sequence[float]) -> Values:
    """Error rates among the first records of each coverage, and the mean over all places."""
    risk = 1 - hits.cumsum() / np.arange(1, hits.size + 1)
    return np.append(risk[_last(coverages, hits.size)], risk.mean())


def _tied(sure: Values, hits: Values) -> Values:
    """Each hit as the mean of those that are as sure, `sure` in order."""
    _, group, counts = np.unique(-sure, return_inverse=True, return_counts=True)
    found: Values = (np.bincount(group, weights=hits) / counts)[group]
    return found


def _chart(found: RiskCoverage) -> Chart:
    curve = sorted(found.accuracy.items())
    everything = found.accuracy[1.0].value
    places = tuple(at for at, _ in curve)
    return Chart(
        kind="line",
        title="How often it is right on the records that it answers",
        x="share of the records that it answers, the surest first",
        y="share that is right",
        series=(
            Series(
                name="the surest first",
                x=places,
                y=tuple(one.value for _, one in curve),
                low=tuple(one.low for _, one in curve),
                high=tuple(one.high for _, one in curve),
            ),
            Series(name="in random order", x=places, y=(everything,) * len(places)),
        ),
        note="The further the curve stands above the flat line, the better it knows hard cases.",
    )
