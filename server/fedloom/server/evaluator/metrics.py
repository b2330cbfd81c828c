"""Accuracy, loss, macro-F1 and calibration, each with a 95 % interval.

Every figure but accuracy, which is a share, is a function of sums over records, so that a resample
is a row of weights and all resamples are one matrix product. What is resampled is privacy units:
rows are summed by unit first.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.statistics import SHARE, Interval, allow_unseen, share_of
from fedloom.server.evaluator.units import Units
from fedloom.server.report.schema import Estimate, Scores
from fedloom.shared.tasks.base import Example

BINS = 15
# Columns that every task has; without a label set the loss is all that they give.
_PLAIN = 2
_FIGURES = ("loss", "macro_f1", "ece")
_SMALLEST_PROBABILITY = 1e-12
# Resamples weighted at once: bounds memory at about this many rows of n weights.
_CHUNK = 64

Sums = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What a model said to n records: `loss` in nats and whether it was `right`, shape (n,).

    `probabilities`, shape (n, classes), are None where answers have no label set.
    """

    loss: NDArray[np.float64]
    right: NDArray[np.bool_]
    probabilities: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> "Outcomes":
        """Of class probabilities and the labels that were right."""
        own = probabilities[np.arange(len(labels)), labels]
        return cls(
            loss=-np.log(np.clip(own, _SMALLEST_PROBABILITY, 1.0)),
            right=probabilities.argmax(axis=1) == labels,
            probabilities=probabilities,
        )

    def __getitem__(self, at: slice | NDArray[np.int64]) -> "Outcomes":
        found = self.probabilities
        return Outcomes(
            loss=self.loss[at],
            right=self.right[at],
            probabilities=None if found is None else found[at],
        )


def labels_of(examples: Sequence[Example]) -> NDArray[np.int64]:
    """Class numbers, shape (n,)."""
    return np.array([example.label for example in examples], dtype=np.int64)


def score(
    outcomes: Outcomes, labels: NDArray[np.int64], *, units: Units, resamples: int, seed: int = 0
) -> Scores:
    """Scores of what was said to records with these labels, shape (n,), of these units.

    Loss is the mean negative log-likelihood in nats. With classes, macro-F1 is the mean over all
    of them, 0 for a class that neither occurs nor is predicted; ECE the expected calibration
    error over 15 bins of equal width (Guo et al. 2017). Accuracy has the interval of `share_of`;
    the others' are percentiles of the multinomial bootstrap over units (Efron 1979), from a fixed
    seed. ECE sums absolute values, so that its resamples lie higher than its value, which small
    test sets may put below the interval. All but loss lie from 0 to 1, and have no interval
    without width.

    Raises:
        ValueError: no records, shapes that do not fit, or no resamples.
    """
    if labels.size == 0 or outcomes.loss.size != labels.size:
        raise ValueError(f"scores: {outcomes.loss.size} outcomes for {labels.size} labels")
    rows = units.sums(_statistics(outcomes, labels))
    estimates = bootstrap(rows, _figures, resamples=resamples, seed=seed)
    found = {
        name: one if name == "loss" else _allowing(one, units.count)
        for name, one in zip(_FIGURES, estimates, strict=False)
    }
    several = None if units.alone else units.count
    accuracy = _estimate(share_of(outcomes.right, units.clusters))
    return Scores(records=labels.size, units=several, accuracy=accuracy, **found)


def class_f1(
    outcomes: Outcomes, labels: NDArray[np.int64], *, units: Units, resamples: int, seed: int = 0
) -> list[Estimate]:
    """F1 of each class, from the same resamples as `score`; their mean is its macro-F1.

    Raises:
        ValueError: as `score`, or there are no classes.
    """
    if outcomes.probabilities is None:
        raise ValueError("F1 by class of answers without a label set")
    rows = units.sums(_statistics(outcomes, labels))
    found = bootstrap(rows, _class_f1, resamples=resamples, seed=seed)
    return [_allowing(one, units.count) for one in found]


def bootstrap(
    statistics: Sums, figures: Callable[[Sums], Sums], *, resamples: int, seed: int = 0
) -> list[Estimate]:
    """Figures that are functions of summed `statistics`, shape (units, any), with percentile
    intervals over units.

    `figures` maps sums of shape (resamples, any) to figures of shape (figures, resamples).

    Raises:
        ValueError: no units, or no resamples.
    """
    if statistics.shape[0] == 0 or resamples < 1:
        raise ValueError(f"scores: {resamples} resamples of {statistics.shape[0]} units")
    whole = figures(statistics.sum(axis=0, keepdims=True))[:, 0]
    weights = _weights(statistics.shape[0], resamples, seed)
    drawn = np.concatenate([figures(rows @ statistics) for rows in weights], axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=1)
    return [
        Estimate(value=float(value), low=float(lowest), high=float(highest))
        for value, lowest, highest in zip(whole, low, high, strict=True)
    ]


def _allowing(found: Estimate, of: int) -> Estimate:
    plain = Interval(value=found.value, low=found.low, high=found.high)
    return _estimate(allow_unseen(plain, of=of, bounds=SHARE))


def _estimate(found: Interval) -> Estimate:
    return Estimate(value=found.value, low=found.low, high=found.high)


def _statistics(outcomes: Outcomes, labels: NDArray[np.int64]) -> Sums:
    """One row a record: 1, its log loss; with classes, its calibration gap and what it
    is, is called, and hits.

    Three columns a class instead of its row of the confusion matrix: F1 needs no more, and
    memory stays linear in the number of classes.
    """
    count = labels.size
    first = np.stack([np.ones(count), outcomes.loss], axis=1)
    probabilities = outcomes.probabilities
    if probabilities is None:
        return first
    rows, classes = np.arange(count), probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities[rows, predicted]
    gaps = np.zeros((count, BINS))
    gaps[rows, confidence_bins(confidence)] = outcomes.right - confidence
    true, called = np.eye(classes)[labels], np.eye(classes)[predicted]
    return np.concatenate([first, gaps, true, called, true * called], axis=1)


def confidence_bins(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """Each confidence's bin; as in the paper, a bin holds its upper edge and not its lower."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def _figures(sums: Sums) -> NDArray[np.float64]:
    """The figures named in `_FIGURES`, shape (1 or 3, resamples), from summed statistics."""
    count, loss = sums[:, 0], sums[:, 1] / sums[:, 0]
    if sums.shape[1] == _PLAIN:
        return loss[None]
    ece = np.abs(sums[:, _PLAIN : _PLAIN + BINS]).sum(axis=1) / count
    return np.stack([loss, _class_f1(sums).mean(axis=0), ece])


def _class_f1(sums: Sums) -> Sums:
    """Shape (classes, resamples)."""
    true, called, hits = np.split(sums[:, _PLAIN + BINS :], 3, axis=1)
    either = true + called
    f1: Sums = np.divide(2 * hits, either, out=np.zeros_like(hits), where=either > 0)
    return f1.T


def _weights(count: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Rows of how often each unit is drawn, `_CHUNK` resamples at a time."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        draws = generator.integers(count, size=(size, count))
        draws += np.arange(size)[:, None] * count
        counts = np.bincount(draws.ravel(), minlength=size * count)
        yield counts.reshape(size, count).astype(np.float64)
