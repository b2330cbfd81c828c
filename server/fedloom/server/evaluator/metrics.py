"""Accuracy, macro-F1, loss and calibration, each with a bootstrap 95 % interval.

Every figure is a function of sums over records, so that a resample is a row of weights and all
resamples are one matrix product.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fedloom.server.report.schema import Estimate, Scores

_BINS = 15
_SMALLEST_PROBABILITY = 1e-12
# Resamples weighted at once: bounds memory at about this many rows of n weights.
_CHUNK = 64

Sums = NDArray[np.float64]


def score(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    *,
    resamples: int,
    seed: int = 0,
) -> Scores:
    """Scores of predicted class probabilities, shape (n, classes), against labels, shape (n,).

    Macro-F1 is the mean over all classes, 0 for a class that neither occurs nor is predicted;
    loss the mean negative log-likelihood in nats; ECE the expected calibration error over 15
    bins of equal width (Guo et al. 2017). Intervals are percentiles of the multinomial
    bootstrap over records (Efron 1979), from a fixed seed. ECE sums absolute values, so that
    its resamples lie higher than its value, which small test sets may put below the interval.

    Raises:
        ValueError: no records, shapes that do not fit, or no resamples.
    """
    if labels.size == 0 or probabilities.shape[0] != labels.size:
        raise ValueError(f"scores: {probabilities.shape} probabilities for {labels.size} labels")
    if resamples < 1:
        raise ValueError(f"scores: {resamples} resamples, expected at least 1")
    statistics = _statistics(probabilities, labels)
    whole = _figures(statistics.sum(axis=0, keepdims=True))[:, 0]
    drawn = [_figures(weights @ statistics) for weights in _weights(labels.size, resamples, seed)]
    low, high = np.percentile(np.concatenate(drawn, axis=1), [2.5, 97.5], axis=1)
    accuracy, macro_f1, loss, ece = (
        Estimate(value=float(value), low=float(lowest), high=float(highest))
        for value, lowest, highest in zip(whole, low, high, strict=True)
    )
    return Scores(records=labels.size, accuracy=accuracy, macro_f1=macro_f1, loss=loss, ece=ece)


def _statistics(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> Sums:
    """One row a record: 1, its log loss, its calibration gap; what it is, is called, and hits.

    Three columns a class instead of its row of the confusion matrix: F1 needs no more, and
    memory stays linear in the number of classes.
    """
    count, classes = probabilities.shape
    rows = np.arange(count)
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities[rows, predicted]
    own = np.clip(probabilities[rows, labels], _SMALLEST_PROBABILITY, 1.0)
    gaps = np.zeros((count, _BINS))
    gaps[rows, _bins(confidence)] = (predicted == labels) - confidence
    true, called = np.eye(classes)[labels], np.eye(classes)[predicted]
    return np.concatenate(
        [np.ones((count, 1)), -np.log(own)[:, None], gaps, true, called, true * called], axis=1
    )


def _bins(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """Each confidence's bin; as in the paper, a bin holds its upper edge and not its lower."""
    return np.clip(np.ceil(confidence * _BINS).astype(np.int64) - 1, 0, _BINS - 1)


def _figures(sums: Sums) -> NDArray[np.float64]:
    """Accuracy, macro-F1, loss and ECE, shape (4, resamples), from summed statistics."""
    count, loss, gaps = sums[:, 0], sums[:, 1], sums[:, 2 : 2 + _BINS]
    true, called, hits = np.split(sums[:, 2 + _BINS :], 3, axis=1)
    either = true + called
    f1 = np.divide(2 * hits, either, out=np.zeros_like(hits), where=either > 0)
    ece = np.abs(gaps).sum(axis=1) / count
    return np.stack([hits.sum(axis=1) / count, f1.mean(axis=1), loss / count, ece])


def _weights(count: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Rows of how often each record is drawn, `_CHUNK` resamples at a time."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        draws = generator.integers(count, size=(size, count))
        draws += np.arange(size)[:, None] * count
        counts = np.bincount(draws.ravel(), minlength=size * count)
        yield counts.reshape(size, count).astype(np.float64)
