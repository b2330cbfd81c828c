"""A lower bound on epsilon from how well members can be told from others.

M. Jagielski, J. Ullman and A. Oprea, "Auditing Differentially Private Machine Learning", NeurIPS
2020. A test of membership with true-positive rate t and false-positive rate f can exist under
(epsilon, delta)-differential privacy only if t <= e^epsilon f + delta, and likewise for its
negatives.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from fedloom.server.evaluator.statistics import Values

_CONFIDENCE = 0.95
# Thresholds that are tried on the first half, as parts of its scores.
_QUANTILES = np.concatenate([np.linspace(0.01, 0.1, 10), np.linspace(0.15, 0.5, 8)])


@dataclass(frozen=True, kw_only=True)
class ThresholdBound:
    """`epsilon` is exceeded with 95 % confidence, as `hits` of `members` and `false` of `others`
    lie beyond a threshold that was chosen on other records; 0 says that nothing was shown."""

    epsilon: float
    hits: int
    members: int
    false: int
    others: int


def threshold_bound(
    members: Values, others: Values, *, delta: float, seed: int = 0
) -> ThresholdBound:
    """The bound from scores, higher for likelier members; shapes (n,) and (k,).

    Both are halved by a shuffle; the threshold, and whether members lie above it or others below
    it, is what gives the best bound on the first halves, and the second halves are what is
    measured. So the choice costs no confidence.

    Raises:
        ValueError: fewer than 4 scores of either.
    """
    if min(members.size, others.size) < 4:
        raise ValueError(f"bound from {members.size} members and {others.size} others")
    generator = np.random.default_rng(seed)
    (first_in, second_in), (first_out, second_out) = (
        np.array_split(generator.permutation(scores), 2) for scores in (members, others)
    )
    tests = list(_tests(np.concatenate([first_in, first_out])))
    best = max(tests, key=lambda test: test.bound(first_in, first_out, delta).epsilon)
    return best.bound(second_in, second_out, delta)


def rate_bound(*, hits: int, of: int, false: int, others: int, delta: float) -> float:
    """log((t - delta) / f), t and f at the ends of Clopper and Pearson's (1934) intervals.

    Each end holds with 97.5 %, both together with 95 %.
    """
    tail = (1 - _CONFIDENCE) / 2
    true_rate = float(beta.ppf(tail, hits, of - hits + 1)) if hits else 0.0
    false_rate = float(beta.ppf(1 - tail, false + 1, others - false)) if false < others else 1.0
    if true_rate <= delta:
        return 0.0
    return max(0.0, math.log((true_rate - delta) / false_rate))


@dataclass(frozen=True, kw_only=True)
class _Test:
    """Calls those above the threshold members, or those below it others."""

    threshold: float
    above: bool

    def bound(self, members: Values, others: Values, delta: float) -> ThresholdBound:
        called, wrongly = (members, others) if self.above else (others, members)
        hits, false = self._count(called), self._count(wrongly)
        epsilon = rate_bound(
            hits=hits, of=called.size, false=false, others=wrongly.size, delta=delta
        )
        return ThresholdBound(
            epsilon=epsilon, hits=hits, members=called.size, false=false, others=wrongly.size
        )

    def _count(self, scores: Values) -> int:
        beyond: NDArray[np.bool_] = (
            scores > self.threshold if self.above else scores < self.threshold
        )
        return int(beyond.sum())


def _tests(scores: Values) -> Iterator[_Test]:
    for part in _QUANTILES:
        yield _Test(threshold=float(np.quantile(scores, 1 - part)), above=True)
        yield _Test(threshold=float(np.quantile(scores, part)), above=False)
