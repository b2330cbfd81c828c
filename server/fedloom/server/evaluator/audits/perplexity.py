"""Perplexity from the mean losses of single records."""

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.metrics import bootstrap
from fedloom.server.evaluator.statistics import Interval, Values
from fedloom.server.evaluator.units import Units


def perplexity(
    loss: Values, tokens: NDArray[np.int64], *, units: Units, resamples: int
) -> Interval | None:
    """exp of the mean negative log-likelihood over all tokens, resampled by unit.

    `loss` is each record's mean over its `tokens`, both of shape (n,): tokens of one text are no
    independent draws. None where it is larger than any number.

    Raises:
        ValueError: no records.
    """
    sums = units.sums(np.stack([loss * tokens, tokens.astype(np.float64)], axis=1))
    with np.errstate(over="ignore", invalid="ignore"):
        found = bootstrap(sums, _of_sums, resamples=resamples)[0]
    if not np.isfinite([found.value, found.low, found.high]).all():
        return None
    return Interval(value=found.value, low=found.low, high=found.high)


def _of_sums(sums: Values) -> Values:
    # A record whose answer did not fit has no token, and a resample may hold no others.
    return np.exp(sums[:, 0] / np.maximum(sums[:, 1], 1))[None]
