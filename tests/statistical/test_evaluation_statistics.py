"""Intervals and paired tests against references computed another way, and their coverage."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest

from fedloom.server.evaluator.statistics import mean, paired, share

TRIALS = 300


@pytest.mark.parametrize(("hits", "of"), [(0, 7), (3, 7), (7, 7), (812, 1000)])
def test_a_share_has_wilsons_interval(hits: int, of: int) -> None:
    expected = binomtest(hits, of).proportion_ci(method="wilson")
    found = share(hits, of)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="of 0 things"):
        share(0, 0)


def test_the_interval_of_a_mean_holds_the_truth_about_as_often_as_it_says() -> None:
    """95 % of 300 trials; fewer than 88 % or all would happen by chance once in 10,000."""
    generator = np.random.default_rng(5)
    held = 0
    for trial in range(TRIALS):
        found = mean(generator.exponential(size=80), resamples=300, seed=trial)
        held += found.low <= 1.0 <= found.high
    assert 0.88 * TRIALS <= held < TRIALS


def test_values_of_one_text_are_resampled_together() -> None:
    """Ten copies of one value are one observation; taken as ten, the interval is too narrow."""
    values = np.random.default_rng(0).normal(size=40)
    once = mean(values)
    copied = mean(np.repeat(values, 10), clusters=[at // 10 for at in range(400)])
    apart = mean(np.repeat(values, 10))
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.02)
    assert apart.high - apart.low < 0.5 * (once.high - once.low)


def test_pairs_of_hits_have_mcnemars_exact_test() -> None:
    first = np.array([1, 1, 1, 1, 1, 0, 1, 0, 1, 1], dtype=float)
    second = np.array([0, 0, 0, 0, 0, 1, 1, 0, 1, 1], dtype=float)
    # Five to one among the six that differ: 2 * (1 + 6) / 2 ** 6.
    assert paired(first, second).p_value == pytest.approx(14 / 64)
    assert paired(first, second).difference == pytest.approx(0.4)


def test_pairs_of_other_values_have_the_sign_flip_test() -> None:
    differences = np.array([0.3, -0.1, 0.4, 0.7, 0.2, -0.3, 0.5])
    flips = [abs(sum(np.multiply(signs, differences))) for signs in product((-1, 1), repeat=7)]
    exact = np.mean([flip >= abs(differences.sum()) - 1e-12 for flip in flips])
    found = paired(differences, np.zeros(7))
    # Of 2,000 flips drawn; off by 0.03 once in 10,000 seeds.
    assert found.p_value == pytest.approx(exact, abs=0.03)


def test_pairs_of_one_text_are_one_observation() -> None:
    """Ten copies of each pair: the interval and the p-value of the pairs alone. Taken apart they
    would show what is not there."""
    first, second = np.random.default_rng(3).normal(size=(2, 40))
    # Off by a fifth of what texts differ by.
    first += 0.2 * (first - second).std() - (first - second).mean()
    copies = [at // 10 for at in range(400)]
    once, taken_apart = paired(first, second), paired(np.repeat(first, 10), np.repeat(second, 10))
    copied = paired(np.repeat(first, 10), np.repeat(second, 10), clusters=copies)
    assert copied.p_value == once.p_value > 0.05 > taken_apart.p_value
    # The same draws, summed in another order.
    assert (copied.difference, copied.low, copied.high) == pytest.approx(
        (once.difference, once.low, once.high)
    )


def test_hits_of_one_text_change_signs_as_one() -> None:
    """Four texts of ten hits each, all for the first: 40 to none for McNemar, but one of the eight
    ways in which four signs may differ from each other."""
    first, second = np.ones(40), np.zeros(40)
    # 2 of 16 ways to sign four texts are as far from 0; off by 0.03 once in 10,000 seeds.
    found = paired(first, second, clusters=[at // 10 for at in range(40)])
    assert found.p_value == pytest.approx(2 / 16, abs=0.03)
    assert paired(first, second).p_value < 1e-9
    assert paired(first, second, clusters=range(40)).p_value == paired(first, second).p_value


def test_unequal_texts_weigh_as_many_pairs_as_they_have() -> None:
    differences, clusters = np.array([0.2, 0.4, 0.3, -0.7, 0.6]), ["a", "a", "b", "c", "c"]
    sums = np.array([0.6, 0.3, -0.1])
    flips = [abs(sum(np.multiply(signs, sums))) for signs in product((-1, 1), repeat=3)]
    exact = np.mean([flip >= abs(sums.sum()) - 1e-12 for flip in flips])
    found = paired(differences, np.zeros(5), clusters=clusters)
    assert found.p_value == pytest.approx(exact, abs=0.03)
    assert found.difference == pytest.approx(0.16)


def test_a_cluster_is_needed_for_each_pair() -> None:
    with pytest.raises(ValueError, match="of 3 values"):
        paired(np.zeros(3), np.ones(3), clusters=["a", "b"])


def test_adapters_that_say_the_same_do_not_differ() -> None:
    values = np.array([1.0, 0.0, 1.0])
    found = paired(values, values)
    assert (found.difference, found.p_value) == (0.0, 1.0)


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(ValueError, match="pairs of 2 and 3"):
        paired(np.zeros(2), np.zeros(3))
