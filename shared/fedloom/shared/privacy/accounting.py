"""Epsilon of a history of subsampled Gaussian mechanisms."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """`steps` runs of the Poisson-subsampled Gaussian mechanism.

    Each run includes every privacy unit with probability `sample_rate`, on its own, sums one
    contribution of L2 norm at most C for each, and adds N(0, (noise_multiplier * C)^2) to every
    coordinate. The neighbouring relation is adding or removing one unit.
    """

    noise_multiplier: float
    sample_rate: float
    steps: int

    def __post_init__(self) -> None:
        if self.noise_multiplier <= 0 or not 0 < self.sample_rate <= 1 or self.steps < 0:
            raise ValueError(
                f"mechanism: noise_multiplier {self.noise_multiplier}, "
                f"sample_rate {self.sample_rate}, steps {self.steps}; "
                "expected > 0, in (0, 1], >= 0"
            )


# The accountant's last digits differ from process to process, by how memory is aligned. A limit
# that was computed in one must leave this much, relatively, for the other.
ARITHMETIC_SLACK = 1e-6
# Where even the loose bound is that large nobody is protected; the tight one would then need a
# grid of gigabytes, and a server that asks for it could stop a site.
_LOOSE_ABOVE = 50.0

Accountant = Callable[[Sequence[Mechanism], float], float]


def prv_epsilon(history: Sequence[Mechanism], delta: float) -> float:
    """Epsilon at `delta` by composing privacy loss random variables, rounded up.

    Guarantee: an upper bound on the epsilon of the whole adaptive composition, for one privacy
    unit added or removed (Gopi, Lee, Wutschitz 2021, through Opacus' PRVAccountant, whose
    upper end of the error interval is returned). Above an epsilon of 50 the looser bound by
    Renyi divergence (Mironov, Talwar, Zhang 2019) is returned as it is. Assumes that sampling
    is Poisson and that the mechanisms ran as described.
    """
    merged = merge(history)
    return _bound(merged, delta) if merged else 0.0


# A site asks about the same run each round, and an answer takes tenths of a second.
@lru_cache(maxsize=1024)
def _bound(merged: tuple[Mechanism, ...], delta: float) -> float:
    from fedloom.shared.privacy.prv import QuickPRVAccountant

    tight = QuickPRVAccountant(try_all_above=_LOOSE_ABOVE)
    tight.history = [(m.noise_multiplier, m.sample_rate, m.steps) for m in merged]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bound = tight.renyi_epsilon(tight.history, delta)
        return bound if bound > _LOOSE_ABOVE else float(tight.get_epsilon(delta))


ACCOUNTANTS: Mapping[str, Accountant] = MappingProxyType({"prv": prv_epsilon})


def merge(history: Iterable[Mechanism]) -> tuple[Mechanism, ...]:
    """Add up the steps of equal mechanisms and drop empty ones; epsilon does not change."""
    steps: dict[tuple[float, float], int] = {}
    for mechanism in history:
        key = (mechanism.noise_multiplier, mechanism.sample_rate)
        steps[key] = steps.get(key, 0) + mechanism.steps
    return tuple(
        Mechanism(noise_multiplier=sigma, sample_rate=rate, steps=count)
        for (sigma, rate), count in steps.items()
        if count
    )
