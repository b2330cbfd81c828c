"""Learning rates over a whole phase of a run, as parts of the plan's own rate.

A site keeps nothing between rounds, so the rate of a step follows from its number alone.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType


def _constant(_: float) -> float:
    return 1.0


def _linear(progress: float) -> float:
    return 1.0 - progress


def _cosine(progress: float) -> float:
    """Loshchilov and Hutter 2017, without restarts."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


SCHEDULES: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {"constant": _constant, "linear": _linear, "cosine": _cosine}
)


def rate_factor(schedule: str, *, step: int, steps: int, warmup: float) -> float:
    """What the plan's rate is multiplied by in step `step` (from 0) of `steps`; in (0, 1].

    It rises linearly in the first `warmup` (a fraction) of the steps, then follows `schedule`
    from 1 towards its end, which it would reach one step after the last.
    """
    rising = warmup * steps
    if step < rising:
        return min(1.0, (step + 1) / rising)
    return SCHEDULES[schedule]((step - rising) / (steps - rising))
