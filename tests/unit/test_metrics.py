"""Scores against scikit-learn and naive loops; intervals against what a bootstrap must do."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, binomtest
from sklearn.metrics import accuracy_score, f1_score, log_loss

from fedloom.server.evaluator.metrics import Outcomes, class_f1
from fedloom.server.evaluator.metrics import score as score_outcomes
from fedloom.server.evaluator.units import Units
from fedloom.server.report.schema import Estimate, Scores

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def score(probabilities: Floats, labels: Labels, *, resamples: int, seed: int = 0) -> Scores:
    said, units = Outcomes.of(probabilities, labels), Units.apart(labels.size)
    return score_outcomes(said, labels, units=units, resamples=resamples, seed=seed)


def predictions(seed: int, *, count: int = 200, classes: int = 3) -> tuple[Floats, Labels]:
    """Predictions that are right more often than chance, and their labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=count)
    logits = generator.normal(size=(count, classes)) + 1.2 * np.eye(classes)[labels]
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True), labels


def naive_ece(probabilities: Floats, labels: Labels) -> float:
    """Equation 3 of Guo et al. 2017: bins ((m - 1) / 15, m / 15], one record at a time."""
    bins: dict[int, list[tuple[float, float]]] = {}
    for row, label in zip(probabilities, labels, strict=True):
        confidence = max(row)
        at = next(m for m in range(1, 16) if confidence * 15 <= m)
        bins.setdefault(at, []).append((float(np.argmax(row) == label), float(confidence)))
    return sum(
        abs(np.mean([hit for hit, _ in found]) - np.mean([sure for _, sure in found]))
        * len(found)
        / len(labels)
        for found in bins.values()
    )


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_values_are_scikit_learns(classes: int) -> None:
    """Catches a transposed F1, a loss in bits, a mean over the wrong axis."""
    probabilities, labels = predictions(classes, classes=classes)
    found = score(probabilities, labels, resamples=2)
    called, names = probabilities.argmax(axis=1), list(range(classes))
    f1 = f1_score(labels, called, average="macro", labels=names, zero_division=0)
    assert found.records == len(labels)
    assert found.accuracy.value == pytest.approx(accuracy_score(labels, called))
    assert found.macro_f1.value == pytest.approx(f1)
    assert found.loss.value == pytest.approx(log_loss(labels, probabilities, labels=names))


def test_a_class_neither_true_nor_called_counts_as_zero() -> None:
    """Catches a macro-F1 over the classes that happen to occur, and a division by zero."""
    probabilities, labels = predictions(0, classes=2)
    wider = np.concatenate([probabilities, np.zeros((len(labels), 1))], axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        two = score(probabilities, labels, resamples=5).macro_f1
        three = score(wider, labels, resamples=5).macro_f1
    assert three.value == pytest.approx(two.value * 2 / 3)
    assert three.high == pytest.approx(two.high * 2 / 3)


@pytest.mark.parametrize("seed", range(4))
def test_ece_is_the_loops(seed: int) -> None:
    """Catches a bin lost, and gaps that cancel between bins."""
    probabilities, labels = predictions(seed, classes=2 + seed)
    ece = score(probabilities, labels, resamples=2).ece.value
    assert ece == pytest.approx(naive_ece(probabilities, labels))


def test_ece_puts_an_edge_into_the_lower_bin_and_certainty_into_the_last() -> None:
    """Catches half-open bins the other way round, and a sixteenth bin."""
    # One sure hit; at the edge 0.6 a miss, and just below it a hit: in one bin, gaps cancel.
    probabilities = np.array([[1.0, 0.0], [0.6, 0.4], [0.59, 0.41]])
    labels = np.array([0, 1, 0])
    found = score(probabilities, labels, resamples=2).ece.value
    assert found == pytest.approx(abs((0 - 0.6) + (1 - 0.59)) / 3)


def test_an_impossible_label_costs_a_finite_loss() -> None:
    """Catches an infinite loss, and a clip other than the promised 1e-12."""
    found = score(np.array([[1.0, 0.0]]), np.array([1]), resamples=3).loss
    assert found.value == pytest.approx(-np.log(1e-12))


def test_resamples_of_records_that_are_all_alike_are_alike() -> None:
    """Catches resampling weights that do not add up to the number of records."""
    found = score(np.tile([0.7, 0.3], (50, 1)), np.zeros(50, dtype=np.int64), resamples=40)
    assert (found.loss.low, found.loss.high) == pytest.approx((found.loss.value,) * 2)


@pytest.mark.parametrize("count", [1, 3, 50])
def test_records_that_all_come_out_right_are_no_certainty(count: int) -> None:
    """An accuracy of 1 has Wilson's interval, by another implementation of it; and neither
    calibration nor F1 of a class is without doubt."""
    said, labels = np.tile([0.7, 0.3], (count, 1)), np.zeros(count, dtype=np.int64)
    found = score(said, labels, resamples=40)
    low = binomtest(count, count).proportion_ci(method="wilson").low
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((low, 1.0))
    for each in (
        found.ece,
        found.macro_f1,
        *class_f1(Outcomes.of(said, labels), labels, units=Units.apart(count), resamples=40),
    ):
        assert each is not None and each.low < each.high


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 60),
    classes=st.integers(2, 6),
    resamples=st.integers(1, 150),
)
def test_scores_stay_in_their_ranges(seed: int, count: int, classes: int, resamples: int) -> None:
    """Catches ends swapped, and a resample without some class that divides by zero."""
    found = score(*predictions(seed, count=count, classes=classes), resamples=resamples)
    for share in (found.accuracy, found.macro_f1, found.ece):
        assert -1e-12 <= share.low <= share.high <= 1 + 1e-12
        assert 0 <= share.value <= 1
    assert 0 <= found.loss.low <= found.loss.high


def test_the_interval_of_a_loss_of_0_or_1_is_the_binomials() -> None:
    """Catches wrong percentiles and weights with a variance other than the multinomial's.

    A resample's mean is Binomial(n, hits / n) / n, so its percentiles are known; with
    20,000 resamples an end misses by two records (0.005) with probability below 1e-9, and the
    seed is fixed besides. The 90 % interval would miss by 0.007.
    """
    found = loss_of(np.arange(400) < 300, resamples=20_000, seed=3)
    assert found.value == 0.75
    expected = [binom.ppf(share, 400, 0.75) / 400 for share in (0.025, 0.975)]
    assert [found.low, found.high] == pytest.approx(expected, abs=0.0045)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Catches intervals that are far too narrow or wide, whatever the cause.

    At n = 100 the interval between exact percentiles covers 0.7 in 95.0 % of draws of records,
    by summing the binomial. Of 300 draws, below 90 % or above 98.5 % then has probability
    < 0.1 %; 200 resamples cost coverage a point at worst, and then it is < 0.6 %. The seeds are
    fixed besides, so the test never flickers.
    """
    covered = [_covers(_draw_loss(seed, share=0.7), 0.7) for seed in range(300)]
    assert 0.90 <= np.mean(covered) <= 0.985


def _draw_loss(seed: int, *, share: float) -> Estimate:
    hits = np.random.default_rng(10_000 + seed).random(100) < share
    return loss_of(hits, resamples=200, seed=seed)


def loss_of(hits: NDArray[np.bool_], *, resamples: int, seed: int) -> Estimate:
    """Of records that lose 1 or nothing, so that their mean is a share."""
    said, units = Outcomes(loss=hits.astype(np.float64), right=hits), Units.apart(hits.size)
    labels = np.full(hits.size, -1)
    return score_outcomes(said, labels, units=units, resamples=resamples, seed=seed).loss


def _covers(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


def test_the_seed_decides_the_interval_and_not_the_value() -> None:
    """Catches a generator that nobody seeded: two reports of one run would differ."""
    given_predictions = predictions(5)
    once = score(*given_predictions, resamples=50)
    assert score(*given_predictions, resamples=50) == once
    other = score(*given_predictions, resamples=50, seed=1)
    assert other.loss.value == once.loss.value
    assert other.loss.low != once.loss.low


@pytest.mark.parametrize(
    ("rows", "labels", "resamples", "named"),
    [(0, 0, 5, "0 labels"), (3, 2, 5, "2 labels"), (2, 2, 0, "0 resamples")],
)
def test_what_cannot_be_scored_is_named(rows: int, labels: int, resamples: int, named: str) -> None:
    """Catches a NaN where an error belongs."""
    with pytest.raises(ValueError, match=named):
        said = Outcomes(loss=np.zeros(rows), right=np.ones(rows, dtype=np.bool_))
        plain, units = np.zeros(labels, dtype=np.int64), Units.apart(labels)
        score_outcomes(said, plain, units=units, resamples=resamples)


def test_free_answers_have_accuracy_and_loss_alone() -> None:
    """Catches figures made up for answers that have no classes."""
    said = Outcomes(loss=np.array([0.5, 1.5]), right=np.array([True, False]))
    found = score_outcomes(said, np.full(2, -1), units=Units.apart(2), resamples=50)
    assert (found.accuracy.value, found.loss.value) == (0.5, 1.0)
    assert found.macro_f1 is None and found.ece is None
