"""The least noise that keeps a whole run within its budget."""

import math
from collections.abc import Callable, Sequence

from scipy.optimize import brentq

from fedloom.shared.config.privacy import LEAST_NOISE
from fedloom.shared.config.values import MOST_NOISE
from fedloom.shared.errors import PlanError
from fedloom.shared.privacy.accounting import ARITHMETIC_SLACK, Accountant, Mechanism

_RELATIVE_TOLERANCE = 1e-3
_SMALLEST_EPSILON = 1e-9


def solve_noise_multiplier(
    *,
    epsilon: float,
    delta: float,
    sample_rate: float,
    steps: int,
    accountant: Accountant,
    beside: Sequence[Mechanism] = (),
) -> float:
    """Least noise multiplier, to 0.1 %, whose `steps` cost at most `epsilon` at `delta`.

    What runs `beside` them is paid for from the same epsilon, with the noise that it has. Never
    below `LEAST_NOISE`, however large the epsilon.

    Guarantee: the accountant's epsilon of the returned noise, `beside` included, is at most
    `epsilon`; the search never returns a point that it did not evaluate as within the budget.

    Raises:
        PlanError: no noise up to 10,000 is enough.
    """

    def excess(log_noise: float) -> float:
        noise = math.exp(log_noise)
        mechanism = Mechanism(noise_multiplier=noise, sample_rate=sample_rate, steps=steps)
        found = accountant([mechanism, *beside], delta)
        if found <= epsilon:
            within.append(noise)
        return math.log(max(found, _SMALLEST_EPSILON) / epsilon)

    within: list[float] = []
    # Each site computes the epsilon again and must not find a hair more than was asked.
    epsilon *= 1 - ARITHMETIC_SLACK
    low, high = _bracket(excess, epsilon)
    if excess(low) <= 0:
        return math.exp(low)
    root = float(brentq(excess, low, high, xtol=_RELATIVE_TOLERANCE / 4))
    # The root may lie a hair on the wrong side; only a point that was seen to hold counts.
    excess(root + _RELATIVE_TOLERANCE / 2)
    return min(within)


def _bracket(excess: Callable[[float], float], epsilon: float) -> tuple[float, float]:
    """Logarithms of two noises, the first too small and the second enough."""
    high = math.log(0.5)
    while excess(high) > 0:
        high += math.log(2)
        if math.exp(high) > MOST_NOISE:
            raise PlanError(
                f"privacy: epsilon {epsilon:g} cannot be reached with any noise up to "
                f"{MOST_NOISE:g}; expected a larger epsilon, fewer steps or fewer metrics"
            )
    low = high - math.log(2)
    while excess(low) <= 0 and math.exp(low) > LEAST_NOISE:
        low, high = max(low - math.log(2), math.log(LEAST_NOISE)), low
    return low, high
