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
    bootstrap over records (Efron 1979), from a fixed seed.

    Raises:
        ValueError: no records, or shapes that do not fit.
    """
    if labels.size == 0 or probabilities.shape[0] != labels.size:
        raise ValueError(f"scores: {probabilities.shape} probabilities for {labels.size} labels")
    statistics = _statistics(probabilities, labels)
    classes = probabilities.shape[1]
    whole = _figures(statistics.sum(axis=0, keepdims=True), classes)[:, 0]
    drawn = [
        _figures(weights @ statistics, classes)
        for weights in _weights(labels.size, resamples, seed)
    ]
    low, high = np.percentile(np.concatenate(drawn, axis=1), [2.5, 97.5], axis=1)
    accuracy, macro_f1, loss, ece = (
        Estimate(value=float(value), low=float(lowest), high=float(highest))
        for value, lowest, highest in zip(whole, low, high, strict=True)
    )
    return Scores(records=labels.size, accuracy=accuracy, macro_f1=macro_f1, loss=loss, ece=ece)


def _statistics(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> Sums:
    """One row a record: its log loss, its cell of the confusion matrix, its calibration gap."""
    count, classes = probabilities.shape
    rows = np.arange(count)
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities[rows, predicted]
    own = np.clip(probabilities[rows, labels], _SMALLEST_PROBABILITY, 1.0)
    confusion = np.zeros((count, classes * classes))
    confusion[rows, labels * classes + predicted] = 1.0
    gaps = np.zeros((count, _BINS))
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    gaps[rows, bins] = (predicted == labels) - confidence
    return np.concatenate([-np.log(own)[:, None], confusion, gaps], axis=1)


def _figures(sums: Sums, classes: int) -> NDArray[np.float64]:
    """Accuracy, macro-F1, loss and ECE, shape (4, resamples), from summed statistics."""
    cells = sums[:, 1 : 1 + classes * classes].reshape(-1, classes, classes)
    count = cells.sum(axis=(1, 2))
    hits = np.diagonal(cells, axis1=1, axis2=2)
    either = cells.sum(axis=1) + cells.sum(axis=2)
    f1 = np.divide(2 * hits, either, out=np.zeros_like(hits), where=either > 0)
    gaps = np.abs(sums[:, 1 + classes * classes :]).sum(axis=1)
    return np.stack([hits.sum(axis=1) / count, f1.mean(axis=1), sums[:, 0] / count, gaps / count])


def _weights(count: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Rows of how often each record is drawn, `_CHUNK` resamples at a time."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        draws = generator.integers(count, size=(size, count))
        draws += np.arange(size)[:, None] * count
        counts = np.bincount(draws.ravel(), minlength=size * count)
        yield counts.reshape(size, count).astype(np.float64)
