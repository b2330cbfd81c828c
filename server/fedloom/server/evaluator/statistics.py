"""Intervals and paired tests; everything from a fixed seed, so that a figure is the same again.

Shares have Wilson's interval (1927), means the percentile bootstrap (Efron 1979). Where several
values come from one text or one privacy unit, a mean is bootstrapped over such clusters, and a
share counts as many hits as their agreement leaves (Kish 1965, Korn & Graubard 1998).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

_95 = 1.959963984540054
_SIGN_FLIPS = 2000

Values = NDArray[np.float64]
Bounds = tuple[float, float]
# What a mean of shares, and of differences between shares, lies between.
SHARE: Bounds = (0.0, 1.0)
BALANCE: Bounds = (-1.0, 1.0)
# Means of the same values may differ in their last digit.
_LEAST_WIDTH = 1e-9


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Paired:
    """A mean difference in pairs, its interval and two-sided p-value."""

    difference: float
    low: float
    high: float
    p_value: float


def share(hits: int, of: int) -> Interval:
    """Wilson's interval for a share.

    Raises:
        ValueError: of nothing.
    """
    if of < 1:
        raise ValueError(f"a share of {of} things")
    return _wilson(hits / of, of)


def _wilson(value: float, of: float) -> Interval:
    z2 = _95**2
    middle = (value + z2 / (2 * of)) / (1 + z2 / of)
    half = _95 / (1 + z2 / of) * np.sqrt(value * (1 - value) / of + z2 / (4 * of**2))
    return Interval(
        value=value,
        low=0.0 if value == 0 else float(max(0.0, middle - half)),
        high=1.0 if value == 1 else float(min(1.0, middle + half)),
    )


def share_of(
    hits: NDArray[np.bool_] | Values, clusters: Sequence[object] | None = None
) -> Interval:
    """The share of `hits`, each 0 or 1, with Wilson's interval.

    Where not all of them stand for themselves, it is Wilson's for their effective number: as many
    as would differ as much by themselves as these do by `clusters`, and never more than clusters.
    Not the bootstrap's, whose low end few clusters of which nearly all are right leave too high.

    Raises:
        ValueError: no values, or not one cluster for each.
    """
    sums, counts = _by_cluster(hits.astype(np.float64), clusters)
    value = float(sums.sum() / counts.sum())
    alone = sums.size == hits.size
    return _wilson(value, sums.size if alone else _effective(sums, counts, value))


def _effective(sums: Values, counts: Values, value: float) -> float:
    """Records by their design effect, the variance of a ratio over clusters beside that of a share
    of single records; at most Kish's number of clusters, which unequal ones make fewer."""
    most = float(counts.sum() ** 2 / (counts**2).sum())
    binomial = counts.sum() ** 2 * value * (1 - value)
    squares = float(((sums - value * counts) ** 2).sum())
    return min(most, binomial / squares) if squares > 0 else most


def mean(
    values: Values,
    *,
    clusters: Sequence[object] | None = None,
    bounds: Bounds | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The mean of `values`, resampled by cluster where `clusters` names one for each value.

    With `bounds` of the values, the interval is never empty: see `allow_unseen`.

    Raises:
        ValueError: no values, or not one cluster for each.
    """
    sums, counts = _by_cluster(values, clusters)
    value = float(values.mean())
    low = high = value
    if np.ptp(values) > 0:
        low, high = _resampled(sums, counts, resamples, seed)
    found = Interval(value=value, low=low, high=high)
    return found if bounds is None else allow_unseen(found, of=sums.size, bounds=bounds)


def has_width(found: Interval) -> bool:
    """Whether an interval is more than its value."""
    return found.high - found.low > _LEAST_WIDTH


def allow_unseen(found: Interval, *, of: int, bounds: Bounds) -> Interval:
    """An interval that claims no certainty where none of `of` things differed.

    No resample of 20 records that all went one way differs from them, and yet a 21st may; nor
    does one of clusters that all have the same mean. Where an interval has no width, it is made
    to allow for as many that went to either bound as Wilson's does of none seen.

    Raises:
        ValueError: of nothing.
    """
    if has_width(found):
        return found
    low, high = bounds
    unseen = share(0, of).high
    return Interval(
        value=found.value,
        low=found.value - unseen * (found.value - low),
        high=found.value + unseen * (high - found.value),
    )


def _resampled(sums: Values, counts: Values, resamples: int, seed: int) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        at = generator.integers(sums.size, size=sums.size)
        drawn.append(sums[at].sum() / counts[at].sum())
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def paired(
    first: Values,
    second: Values,
    *,
    clusters: Sequence[object] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Paired:
    """The mean of `first - second`, both on the same records.

    Where `clusters` names one for each pair and not all are apart, clusters are resampled and
    change signs as one, and McNemar's test, which counts pairs, is not used.

    Raises:
        ValueError: no values, not as many of both, or not one cluster for each.
    """
    if first.size != second.size or first.size == 0:
        raise ValueError(f"pairs of {first.size} and {second.size} values")
    differences = first - second
    shares = np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all()
    bounds = BALANCE if shares else None
    found = mean(differences, clusters=clusters, bounds=bounds, resamples=resamples, seed=seed)
    sums, _ = _by_cluster(differences, clusters)
    alone = sums.size == differences.size
    p_value = _mcnemar(differences) if shares and alone else _sign_flips(sums, seed)
    return Paired(difference=found.value, low=found.low, high=found.high, p_value=p_value)


def number_of(values: NDArray[np.bool_] | Values, clusters: Sequence[object] | None) -> int:
    """How many of the values stand for themselves: all, or as many as there are clusters."""
    return values.size if clusters is None else len(set(clusters))


def _by_cluster(values: Values, clusters: Sequence[object] | None) -> tuple[Values, Values]:
    if values.size == 0 or (clusters is not None and len(clusters) != values.size):
        raise ValueError(f"a mean of {values.size} values")
    if clusters is None:
        return values, np.ones_like(values)
    numbers: dict[object, int] = {}
    at = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters])
    sums = np.bincount(at, weights=values).astype(np.float64)
    return sums, np.bincount(at).astype(np.float64)


def _mcnemar(differences: Values) -> float:
    """Exact: among pairs that differ, either side is as likely (McNemar 1947)."""
    ahead, behind = int((differences > 0).sum()), int((differences < 0).sum())
    return float(binomtest(ahead, ahead + behind).pvalue) if ahead + behind else 1.0


def _sign_flips(differences: Values, seed: int) -> float:
    """Monte-Carlo permutation test of a mean of 0 (Fisher 1935), never below 1 / (flips + 1)."""
    observed = abs(differences.sum())
    if observed == 0:
        return 1.0
    generator = np.random.default_rng(seed + 1)
    extreme = 0
    for _ in range(_SIGN_FLIPS):
        signs = generator.integers(2, size=differences.size) * 2 - 1
        extreme += abs((signs * differences).sum()) >= observed * (1 - 1e-12)
    return float((extreme + 1) / (_SIGN_FLIPS + 1))
