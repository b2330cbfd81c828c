"""The least noise that keeps a whole run within its budget."""

from collections.abc import Callable

from fedloom.shared.errors import PlanError
from fedloom.shared.privacy.accounting import Accountant, Mechanism

# Above this no training survives; a request that needs more is a mistake in the config.
_LARGEST_NOISE = 1e4
_RELATIVE_TOLERANCE = 1e-3


def solve_noise_multiplier(
    *, epsilon: float, delta: float, sample_rate: float, steps: int, accountant: Accountant
) -> float:
    """Least noise multiplier, to 0.1 %, whose `steps` cost at most `epsilon` at `delta`.

    Guarantee: the accountant's epsilon of the returned noise is at most `epsilon`; the search
    never returns a point that it did not evaluate as within the budget.

    Raises:
        PlanError: no noise up to 10,000 is enough.
    """

    def cost(noise: float) -> float:
        mechanism = Mechanism(noise_multiplier=noise, sample_rate=sample_rate, steps=steps)
        return accountant([mechanism], delta)

    low, high = _bracket(cost, epsilon)
    while high > low * (1 + _RELATIVE_TOLERANCE):
        middle = (low * high) ** 0.5
        if cost(middle) <= epsilon:
            high = middle
        else:
            low = middle
    return high


def _bracket(cost: Callable[[float], float], epsilon: float) -> tuple[float, float]:
    high = 0.5
    while cost(high) > epsilon:
        high *= 2
        if high > _LARGEST_NOISE:
            raise PlanError(
                f"privacy: epsilon {epsilon} cannot be reached with any noise up to "
                f"{_LARGEST_NOISE:g}; expected a larger epsilon or fewer steps"
            )
    low = high / 2
    while low > 1e-3 and cost(low) <= epsilon:
        low, high = low / 2, low
    return low, high
