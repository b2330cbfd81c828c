"""Membership inference: how well scores tell members of the training records from others.

S. Yeom et al., "Privacy Risk in Machine Learning", CSF 2018, for the loss as a score; N. Carlini
et al., "Membership Inference Attacks From First Principles", S&P 2022, for the true-positive
rate at a low false-positive rate, and for the likelihood-ratio attack (LiRA).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from fedloom.server.evaluator.statistics import SHARE, Interval, Values, allow_unseen
from fedloom.server.evaluator.units import Units

# Below so many shadow models on either side, one variance stands for all records (Carlini et
# al., section VI-C).
_FEW_SHADOWS = 32
_LEAST_DEVIATION = 1e-6
_LEAST_LOSS = 1e-12
# Of scores that say nothing.
AUC_BY_CHANCE = 0.5

Statistic = Callable[[Values, Values], float]


@dataclass(frozen=True, kw_only=True)
class RocCurve:
    """True-positive against false-positive rate, both rising from 0 to 1."""

    false_positive: Values
    true_positive: Values


def auc(members: Values, others: Values) -> float:
    """The chance that a member scores above another, ties counted half (Mann and Whitney)."""
    ranks = rankdata(np.concatenate([members, others]))[: members.size]
    above = ranks.sum() - members.size * (members.size + 1) / 2
    return float(above / (members.size * others.size))


def tpr_at(members: Values, others: Values, *, fpr: float) -> float:
    """The part of members that a threshold finds when it calls `fpr` of the others members.

    Between two thresholds, as where many scores are the same, a coin decides between them.
    """
    curve = roc(members, others)
    false, true = curve.false_positive, curve.true_positive
    at = int(np.searchsorted(false, fpr, side="right")) - 1
    if at + 1 == false.size:
        return float(true[at])
    part = (fpr - false[at]) / (false[at + 1] - false[at])
    return float(true[at] + part * (true[at + 1] - true[at]))


def resampled(
    statistic: Statistic,
    members: Values,
    others: Values,
    *,
    units: tuple[Units, Units] | None = None,
    resamples: int = 500,
    seed: int = 0,
) -> Interval:
    """A statistic of both, from 0 to 1, with a bootstrap 95 % interval over units, those of the
    members and those of the others drawn apart; without `units` each score is one."""
    generator = np.random.default_rng(seed)
    inside, outside = units or (Units.apart(members.size), Units.apart(others.size))
    drawn = [
        statistic(members[inside.drawn(generator)], others[outside.drawn(generator)])
        for _ in range(resamples)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    found = Interval(value=statistic(members, others), low=float(low), high=float(high))
    return allow_unseen(found, of=min(inside.count, outside.count), bounds=SHARE)


def roc(members: Values, others: Values) -> RocCurve:
    """The curve over all thresholds; one that ties share is one point."""
    scores = np.concatenate([members, others])
    is_member = np.repeat([True, False], [members.size, others.size])
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    true = np.cumsum(is_member[order])[last] / members.size
    false = np.cumsum(~is_member[order])[last] / others.size
    return RocCurve(
        false_positive=np.concatenate([[0.0], false]), true_positive=np.concatenate([[0.0], true])
    )


def confidence(loss: Values) -> Values:
    """log(p / (1 - p)) of the right answer's probability p = e^-loss: near a Gaussian over
    models, as LiRA wants its scores."""
    found: Values = -np.log(np.expm1(np.maximum(loss, _LEAST_LOSS)))
    return found


def lira_online(scores: Values, shadows: Values, inside: NDArray[np.bool_]) -> Values:
    """Log-likelihood ratio of each record being a member of the audited model's training.

    `scores` of the audited model has shape (n,); `shadows` and `inside`, shape (models, n), are
    the shadow models' scores of the same records and which of them each was trained on. With
    fewer than 32 models on a side, all records share that side's variance.

    Raises:
        ValueError: shapes that do not fit, or a record that all or no shadow model had.
    """
    _check(scores, shadows, inside)
    if not (inside.any(axis=0) & ~inside.all(axis=0)).all():
        raise ValueError("LiRA: a record that all or no shadow model had, expected some of both")
    with_it, without = (_gaussian(shadows, side) for side in (inside, ~inside))
    found: Values = norm.logpdf(scores, *with_it) - norm.logpdf(scores, *without)
    return found


def _check(scores: Values, shadows: Values, inside: NDArray[np.bool_]) -> None:
    if shadows.ndim != 2 or shadows.shape != inside.shape or shadows.shape[1:] != scores.shape:
        raise ValueError(
            f"LiRA: scores {scores.shape}, shadows {shadows.shape}, inside {inside.shape}"
        )


def _gaussian(shadows: Values, side: NDArray[np.bool_]) -> tuple[Values, Values]:
    """Mean and standard deviation by record over the models in `side`, shapes (n,)."""
    counts = side.sum(axis=0)
    mean = np.where(side, shadows, 0.0).sum(axis=0) / counts
    squares = np.where(side, (shadows - mean) ** 2, 0.0).sum(axis=0)
    if counts.min() < _FEW_SHADOWS:
        freedom = max(1, int((counts - 1).sum()))
        variance = np.full_like(mean, squares.sum() / freedom)
    else:
        variance = squares / (counts - 1)
    return mean, np.maximum(np.sqrt(variance), _LEAST_DEVIATION)
