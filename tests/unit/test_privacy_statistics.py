"""The statistics of the privacy audit against references that are computed another way."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score

from fedloom.server.evaluator.privacy import exposure, membership, one_run
from fedloom.server.evaluator.privacy.decoding import Alignment

TRIALS = 300


def naive_p_value(m: int, r: int, v: int, epsilon: float, delta: float) -> float:
    """Theorem 5.2, term by term from binomial coefficients."""
    q = math.exp(epsilon) / (1 + math.exp(epsilon))
    chance = [math.comb(r, k) * q**k * (1 - q) ** (r - k) for k in range(r + 1)]
    alpha = max(sum(chance[max(0, v - i) : v]) / i for i in range(1, m + 1))
    return min(1.0, sum(chance[v:]) + 2 * m * delta * alpha)


@pytest.mark.parametrize(
    ("m", "r", "v", "delta"), [(40, 40, 33, 1e-3), (60, 20, 20, 1e-5), (50, 30, 0, 0.0)]
)
@pytest.mark.parametrize("epsilon", [0.0, 0.7, 3.0])
def test_p_value_is_the_theorems(m: int, r: int, v: int, delta: float, epsilon: float) -> None:
    found = one_run.p_value(epsilon, canaries=m, guesses=r, correct=v, delta=delta)
    assert found == pytest.approx(naive_p_value(m, r, v, epsilon, delta), rel=1e-9)


def test_the_papers_own_example() -> None:
    """Steinke, Nasr and Jagielski 2023, appendix D: 75 of 100 guesses, 1,000 canaries."""
    found = one_run.lower_bound(canaries=1000, guesses=100, correct=75, delta=1e-4)
    assert found == pytest.approx(0.673, abs=5e-4)


def test_a_bound_is_where_the_theorem_stops_rejecting() -> None:
    asked = {"canaries": 300, "guesses": 200, "correct": 170, "delta": 1e-5}
    found = one_run.lower_bound(**asked)  # type: ignore[arg-type]
    below, above = (one_run.p_value(found + step, **asked) for step in (-1e-3, 1e-3))  # type: ignore[arg-type]
    assert below < 0.05 <= above
    nothing = one_run.lower_bound(canaries=300, guesses=200, correct=105, delta=1e-5)
    assert nothing == 0.0


def randomised_response(
    epsilon: float, generator: np.random.Generator, m: int = 400
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores that tell each coin truly with chance e^epsilon / (1 + e^epsilon): an
    epsilon-private mechanism, and the worst that there is."""
    inside = generator.random(m) < 0.5
    truly = generator.random(m) < 1 / (1 + math.exp(-epsilon))
    said = np.where(truly, inside, ~inside)
    return said + 1e-3 * generator.random(m), inside


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0])
def test_the_bound_stays_below_randomised_responses_epsilon(epsilon: float) -> None:
    """Bounds hold with 95 %: of 300 trials at most 5 % may lie above, and three standard
    deviations of chance: a false alarm in less than one seed of 700."""
    generator = np.random.default_rng(1)
    above = 0
    for _ in range(TRIALS):
        scores, inside = randomised_response(epsilon, generator)
        above += one_run.audit([{"said": scores}], inside, delta=1e-6)[0].epsilon > epsilon
    assert above <= 0.05 * TRIALS + 3 * math.sqrt(0.05 * 0.95 * TRIALS)


def test_control_a_bound_that_takes_the_best_of_many_uncorrected_is_caught() -> None:
    """Forty kinds of evidence that know nothing: the best of them at 95 % each is above 0 often;
    corrected for their number, it is not."""
    generator = np.random.default_rng(2)
    uncorrected = corrected = 0
    for _ in range(60):
        inside = generator.random(200) < 0.5
        evidence = {str(at): generator.normal(size=200) for at in range(40)}
        uncorrected += any(
            one_run.audit([{name: scores}], inside, delta=1e-6)[0].epsilon > 0
            for name, scores in evidence.items()
        )
        corrected += one_run.audit([evidence], inside, delta=1e-6)[0].epsilon > 0
    assert uncorrected > 20
    assert corrected <= 0.05 * 60 + 3 * math.sqrt(0.05 * 0.95 * 60)


def test_the_bound_nears_the_truth_with_many_guesses() -> None:
    generator = np.random.default_rng(3)
    found = [
        one_run.audit([{"said": scores}], inside, delta=1e-9)[0].epsilon
        for scores, inside in (randomised_response(1.0, generator, m=20_000) for _ in range(5))
    ]
    assert 0.85 < np.mean(found) < 1.0


@pytest.mark.parametrize("kinds", [1, 5])
def test_the_most_that_canaries_could_show_is_what_perfect_evidence_shows(kinds: int) -> None:
    """By the audit itself, of scores that are the coins; half of them are in."""
    inside = np.arange(40) % 2 == 0
    perfect = inside.astype(float)
    said = {f"kind {at}": perfect if at == 0 else -perfect for at in range(kinds)}
    best, *others = one_run.audit([said], inside, delta=1e-6)
    assert best.epsilon == best.most > 1.0
    assert all(other.most == best.most > other.epsilon for other in others)


def test_scores_that_are_no_numbers_are_refused() -> None:
    inside = np.array([True, False, True])
    with pytest.raises(ValueError, match="bad: expected 3 finite scores"):
        one_run.audit([{"bad": np.array([0.1, np.nan, 0.2])}], inside, delta=1e-5)
    with pytest.raises(ValueError, match="expected 3 finite scores"):
        one_run.audit([{"short": np.zeros(2)}], inside, delta=1e-5)
    with pytest.raises(ValueError, match="5 of 4 guesses"):
        one_run.lower_bound(canaries=9, guesses=4, correct=5, delta=0.0)


def test_auc_is_scikit_learns_with_ties() -> None:
    generator = np.random.default_rng(6)
    members, others = generator.integers(0, 9, 200) + 1.0, generator.integers(0, 9, 300) * 1.0
    truth = np.repeat([1, 0], [200, 300])
    expected = roc_auc_score(truth, np.concatenate([members, others]))
    assert membership.auc(members, others) == pytest.approx(expected)
    curve = membership.roc(members, others)
    area = np.trapezoid(curve.true_positive, curve.false_positive)
    assert area == pytest.approx(expected)


def test_tpr_at_a_low_fpr_by_hand() -> None:
    others = np.arange(200.0)
    members = np.array([197.5, 198.0, 198.5, 300.0, 5.0])
    # Two of 200 may pass: 198 and 199, so four of five members, above 197, are found.
    assert membership.tpr_at(members, others, fpr=0.01) == 0.8
    assert membership.tpr_at(members, others, fpr=0.0) == 0.2
    assert membership.tpr_at(members, others, fpr=1.0) == 1.0


def test_tpr_where_the_best_scores_are_all_the_same() -> None:
    """As of losses that are 0: half of either share the best score, so that a coin decides, and
    one in a hundred others goes with one in a hundred members."""
    members, others = np.repeat([0.0, -1.0], 50), np.repeat([0.0, -1.0], 50)
    assert membership.tpr_at(members, others, fpr=0.01) == pytest.approx(0.01)


def test_intervals_of_nothing_cover_one_half() -> None:
    """Members and others alike; the interval is a 95 % one, so of 100 about 5 miss 0.5; 12 or
    more would be a false alarm in one seed of 250."""
    generator = np.random.default_rng(7)
    missed = 0
    for at in range(100):
        members, others = generator.normal(size=80), generator.normal(size=80)
        found = membership.resampled(membership.auc, members, others, resamples=200, seed=at)
        missed += not found.low <= 0.5 <= found.high
    assert missed < 12


def shadows(models: int, *, records: int = 60, seed: int = 8) -> tuple[NDArray[np.float64], ...]:
    """Scores of records of very different difficulty that rise by 1 where a model had them."""
    generator = np.random.default_rng(seed)
    hard = 5 * generator.normal(size=records)
    inside = generator.random((models, records)) < 0.5
    inside[0], inside[1] = True, False
    scores = hard + inside + 0.3 * generator.normal(size=inside.shape)
    target_inside = generator.random(records) < 0.5
    target = hard + target_inside + 0.3 * generator.normal(size=records)
    return target, target_inside, scores, inside


@pytest.mark.parametrize("models", [6, 200])
def test_lira_sees_what_one_threshold_for_all_cannot(models: int) -> None:
    target, truth, scores, inside = shadows(models)
    truth, inside = truth.astype(bool), inside.astype(bool)
    plain = membership.auc(target[truth], target[~truth])
    online = membership.lira_online(target, scores, inside)
    assert plain < 0.7
    assert membership.auc(online[truth], online[~truth]) > 0.95


def test_lira_online_by_hand() -> None:
    """Two records, four models; pooled variances as the formula of Carlini et al. has them."""
    scores = np.array([[1.0, 5.0], [3.0, 7.0], [0.0, 4.0], [0.0, 2.0]])
    inside = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=bool)
    found = membership.lira_online(np.array([2.0, 6.0]), scores, inside)
    # In: means 2 and 3, squares 2 and 2 over 2 degrees; out: means 0 and 6, squares 0 and 2.
    spread_in, spread_out = math.sqrt(4 / 2), math.sqrt(2 / 2)
    expected = [
        stats.norm.logpdf(2, 2, spread_in) - stats.norm.logpdf(2, 0, spread_out),
        stats.norm.logpdf(6, 3, spread_in) - stats.norm.logpdf(6, 6, spread_out),
    ]
    np.testing.assert_allclose(found, expected)


def test_lira_refuses_what_it_cannot_compare() -> None:
    scores, all_in = np.zeros((3, 2)), np.ones((3, 2), dtype=bool)
    with pytest.raises(ValueError, match="all or no shadow model"):
        membership.lira_online(np.zeros(2), scores, all_in)
    with pytest.raises(ValueError, match=r"scores \(5,\)"):
        membership.lira_online(np.zeros(5), scores, all_in)


def test_confidence_is_the_log_odds_of_the_right_answer() -> None:
    chance = np.array([0.01, 0.5, 0.99])
    odds = np.log(chance / (1 - chance))
    np.testing.assert_allclose(membership.confidence(-np.log(chance)), odds)
    assert np.isfinite(membership.confidence(np.array([0.0]))).all()


def test_exposure_by_hand() -> None:
    references = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    found = exposure.exposure(np.array([0.5, 2.0, 9.0]), references)
    np.testing.assert_allclose(found, np.log2([8 / 1, 8 / 3, 8 / 8]))
    own = exposure.exposure(np.array([0.5, 2.0]), np.array([[1.0, 2.0], [1.0, 2.0]]))
    np.testing.assert_allclose(own, np.log2([3 / 1, 3 / 3]))


def test_exposure_by_chance_is_that_of_uniform_ranks() -> None:
    """Mean of 20,000 draws with deviation 1.44: 0.05 is five standard deviations."""
    generator = np.random.default_rng(9)
    found = exposure.exposure(generator.random(20_000), generator.random(999))
    assert found.mean() == pytest.approx(exposure.BY_CHANCE, abs=0.15)


def test_references_keep_a_secrets_form() -> None:
    drawn = exposure.like("Pin 07-b", 50)
    assert drawn == exposure.like("Pin 07-b", 50) and len(set(drawn)) > 45
    for text in drawn:
        assert [a.isdigit() for a in text] == [a.isdigit() for a in "Pin 07-b"]
        assert text[0].isupper() and text[3] == " " and text[6] == "-"
    assert exposure.forms("7-b") == 260


def test_decoding_finds_the_weights_in_a_sum_without_noise() -> None:
    """More gradients than one would see with the eye, many of them nearly alike."""
    generator = np.random.default_rng(10)
    rows = generator.normal(size=(80, 200)) + 5 * generator.normal(size=200)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    inside = generator.random(50) < 0.5
    change = -(np.concatenate([inside, np.ones(30)]) @ rows)
    seen = Alignment.of(rows, change)
    found = seen.weights(ridge=1e-9, canaries=50)
    assert membership.auc(found[inside], found[~inside]) == 1.0
    alone = seen.match[:50]
    assert membership.auc(alone[inside], alone[~inside]) < 0.9, "inner products do not tell"
    parts = Alignment.of(rows[:, :70], change[:70]) + Alignment.of(rows[:, 70:], change[70:])
    np.testing.assert_allclose(parts.gram, seen.gram)
    np.testing.assert_allclose(parts.match, seen.match)


def test_decoding_with_a_ridge_is_the_best_linear_estimate() -> None:
    """Against the estimate of Gaussian weights written out by their joint covariance."""
    generator = np.random.default_rng(11)
    rows = generator.normal(size=(12, 20))
    change = generator.normal(size=20)
    covariance = rows.T @ rows + 0.7 * np.eye(20)
    expected = -(rows @ np.linalg.solve(covariance, change))
    found = Alignment.of(rows, change).weights(ridge=0.7, canaries=12)
    np.testing.assert_allclose(found, expected / expected.std(), atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_decoding_has_a_solution_where_known_records_outweigh_canaries() -> None:
    """Each stands for a thousand, there is no noise, and fewer numbers than gradients."""
    generator = np.random.default_rng(12)
    rows = generator.normal(size=(60, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[20:] *= 1000
    found = Alignment.of(rows, rows.sum(axis=0)).weights(ridge=0.0, canaries=20)
    assert np.isfinite(found).all()


def test_decoding_of_nothing_is_nothing() -> None:
    nothing = Alignment.of(np.zeros((4, 3)), np.ones(3))
    assert nothing.weights(ridge=1.0, canaries=2).tolist() == [0.0, 0.0]
