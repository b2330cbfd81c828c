"""Temperature scaling (Guo et al. 2017, section 4.2), found and tried on different records."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from fedloom.server.evaluator.metrics import Outcomes, bootstrap
from fedloom.server.evaluator.statistics import Interval, Values
from fedloom.server.evaluator.units import Units

_SMALLEST_PROBABILITY = 1e-12
# In steps of 1.5 %: finer than any test set can tell apart. Sums of losses at fixed places can be
# resampled as one matrix product.
_TEMPERATURES = np.geomspace(0.05, 20.0, 401)


@dataclass(frozen=True, kw_only=True)
class Half:
    """A temperature, and the places of the records that it was `tried` on and had not seen."""

    temperature: float
    tried: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """`whole` is of all records; `scaled` says of each record what the other half's temperature
    makes of it."""

    whole: Interval
    halves: tuple[Half, Half]
    scaled: Outcomes


def cross_fitted(
    outcomes: Outcomes, labels: NDArray[np.int64], *, units: Units, resamples: int
) -> Temperature:
    """The temperatures, from 0.05 to 20 in steps of 1.5 %, that make log loss smallest.

    The halves are every other unit's records: nobody's are in both.

    Raises:
        ValueError: fewer than two units, or no classes.
    """
    if outcomes.probabilities is None or units.count < 2:
        raise ValueError(f"a temperature of {units.count} units")
    logits = np.log(np.clip(outcomes.probabilities, _SMALLEST_PROBABILITY, 1.0))
    losses = _losses(logits, labels)
    whole = bootstrap(units.sums(losses), _best, resamples=resamples)[0]
    even, odd = (np.flatnonzero(units.numbers % 2 == rest) for rest in (0, 1))
    halves = (_half(losses, found_on=even, tried=odd), _half(losses, found_on=odd, tried=even))
    probabilities = np.empty_like(logits)
    for half in halves:
        probabilities[half.tried] = scaled(logits[half.tried], half.temperature)
    return Temperature(
        whole=Interval(value=whole.value, low=whole.low, high=whole.high),
        halves=halves,
        scaled=Outcomes.of(probabilities, labels),
    )


def scaled(logits: Values, temperature: float) -> Values:
    """Probabilities of logits divided by a temperature, shape (n, classes)."""
    cooled = logits / temperature
    found: Values = np.exp(cooled - logsumexp(cooled, axis=1, keepdims=True))
    return found


def _half(losses: Values, *, found_on: NDArray[np.int64], tried: NDArray[np.int64]) -> Half:
    best = _best(losses[found_on].sum(axis=0, keepdims=True))
    return Half(temperature=float(best[0, 0]), tried=tried)


def _losses(logits: Values, labels: NDArray[np.int64]) -> Values:
    """Log loss of each record at each temperature, shape (n, temperatures)."""
    own = logits[np.arange(labels.size), labels]
    columns = [logsumexp(logits / at, axis=1) - own / at for at in _TEMPERATURES]
    return np.stack(columns, axis=1)


def _best(sums: Values) -> Values:
    found: Values = _TEMPERATURES[sums.argmin(axis=1)][None]
    return found
