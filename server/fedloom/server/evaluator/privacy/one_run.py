"""A lower bound on epsilon from one training run.

T. Steinke, M. Nasr and M. Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023.
m canaries are each put into the training records, or left out, by a fair coin of their own.
Whoever sees what training released guesses "in" for k+ of them and "out" for k-, and abstains on
the rest.

Theorem 5.2: if what is released is (epsilon, delta)-differentially private under adding or
removing one canary, then for every v, with W ~ Binomial(r, q), q = e^epsilon / (1 + e^epsilon)
and r = k+ + k-,

    P[v or more guesses are right] <= P[W >= v] + 2 m delta * max over i in 1..m of
                                      P[v > W >= v - i] / i.

An epsilon for which the right side lies below 1 - confidence is rejected at that confidence.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import binom

from fedloom.server.evaluator.statistics import Values

# How many of all canaries are guessed at, as a part of them, and whether at "in" alone: fixed
# before any coin is looked at.
GUESSED = ((0.1, False), (0.3, False), (1.0, False), (0.1, True))
# Where bisection ends: far below what a figure shows.
_PRECISION = 1e-6


@dataclass(frozen=True, kw_only=True)
class OneRunBound:
    """The algorithm is not (`epsilon`, delta)-private, at the confidence that was asked for.

    0 says that nothing was shown. `correct` of `guesses` guesses were right, by the scores that
    are called `evidence`. `most` is what so many canaries could have shown at best: `epsilon`,
    had every guess been right.
    """

    evidence: str
    epsilon: float
    canaries: int
    guesses: int
    correct: int
    most: float


def audit(
    evidence: Sequence[Mapping[str, Values]],
    inside: NDArray[np.bool_],
    *,
    delta: float,
    confidence: float = 0.95,
) -> tuple[OneRunBound, ...]:
    """The best bound from each kind of evidence, the largest first; all arrays have shape (m,).

    Evidence is one score for each canary, higher for those likelier in. A score may depend on all
    that was released, never on `inside`. Guesses are "in" for the highest scores and, as many,
    "out" for the lowest, or "in" alone. Groups of evidence share 1 - confidence alike, and so do
    within a group its kinds, times the numbers of guesses that are tried (Bonferroni): all bounds
    hold together at `confidence`.

    Raises:
        ValueError: fewer than 2 canaries, scores that are no numbers, or not one for each.
    """
    groups = [group for group in evidence if group]
    best = []
    for group in groups:
        level = 1 - (1 - confidence) / (len(groups) * len(group) * len(GUESSED))
        most = _most(inside.size, delta=delta, confidence=level)
        for name, scores in group.items():
            if scores.size < 2 or scores.shape != inside.shape or not np.isfinite(scores).all():
                raise ValueError(f"one-run audit, {name}: expected {inside.size} finite scores")
            bounds = _bounds(name, scores, inside, delta=delta, confidence=level, most=most)
            best.append(max(bounds, key=lambda bound: (bound.epsilon, bound.guesses)))
    return tuple(sorted(best, key=lambda bound: -bound.epsilon))


def lower_bound(
    *, canaries: int, guesses: int, correct: int, delta: float, confidence: float = 0.95
) -> float:
    """The largest epsilon that so many correct guesses reject, found by bisection from below.

    Raises:
        ValueError: more correct than guessed, or more guessed than there are.
    """
    if not 0 <= correct <= guesses <= canaries:
        raise ValueError(f"{correct} of {guesses} guesses right, at {canaries} canaries")
    wanted = 1 - confidence
    low, high = 0.0, 1.0
    if p_value(0.0, canaries=canaries, guesses=guesses, correct=correct, delta=delta) >= wanted:
        return 0.0
    while p_value(high, canaries=canaries, guesses=guesses, correct=correct, delta=delta) < wanted:
        low, high = high, 2 * high
    while high - low > _PRECISION:
        middle = (low + high) / 2
        found = p_value(middle, canaries=canaries, guesses=guesses, correct=correct, delta=delta)
        low, high = (middle, high) if found < wanted else (low, middle)
    return low


def p_value(epsilon: float, *, canaries: int, guesses: int, correct: int, delta: float) -> float:
    """The right side of Theorem 5.2 for v = `correct`, at most 1."""
    if correct == 0:
        return 1.0
    right = float(expit(epsilon))
    tail = float(binom.sf(correct - 1, guesses, right))
    # P[v > W >= v - i] for i = 1, 2, ..., v; beyond v it does not grow any more.
    below = np.cumsum(binom.pmf(np.arange(correct - 1, -1, -1), guesses, right))
    steepest = float((below / np.arange(1, correct + 1)).max())
    return min(1.0, tail + 2 * canaries * delta * steepest)


def _most(canaries: int, *, delta: float, confidence: float) -> float:
    """The largest bound there can be: all guesses are right."""
    numbers = [min(sum(each), canaries) for each in _guesses(canaries)]
    return max(
        lower_bound(canaries=canaries, guesses=n, correct=n, delta=delta, confidence=confidence)
        for n in numbers
    )


def _bounds(
    name: str,
    scores: Values,
    inside: NDArray[np.bool_],
    *,
    delta: float,
    confidence: float,
    most: float,
) -> Iterator[OneRunBound]:
    # Ties are parted by place, which knows nothing of the coins.
    order = np.argsort(scores, kind="stable")
    for highest, lowest in _guesses(scores.size):
        right = inside[order[scores.size - highest :]].sum() + (~inside[order[:lowest]]).sum()
        guesses, correct = highest + lowest, int(right)
        epsilon = lower_bound(
            canaries=scores.size,
            guesses=guesses,
            correct=correct,
            delta=delta,
            confidence=confidence,
        )
        yield OneRunBound(
            evidence=name,
            epsilon=epsilon,
            canaries=scores.size,
            guesses=guesses,
            correct=correct,
            most=most,
        )


def _guesses(canaries: int) -> Iterator[tuple[int, int]]:
    for part, only_in in GUESSED:
        half = max(1, int(part * canaries) // 2)
        yield half, 0 if only_in else half
