"""The accountant against one written by others on other principles (Google's PLD)."""

import pytest
from dp_accounting import dp_event, pld
from opacus.accountants import PRVAccountant

from fedloom.shared.privacy.accounting import Mechanism, merge, prv_epsilon
from fedloom.shared.privacy.calibration import solve_noise_multiplier


def pld_epsilon(history: list[Mechanism], delta: float) -> float:
    accountant = pld.PLDAccountant(value_discretization_interval=1e-4)
    for mechanism in history:
        gaussian = dp_event.GaussianDpEvent(mechanism.noise_multiplier)
        sampled = dp_event.PoissonSampledDpEvent(mechanism.sample_rate, gaussian)
        accountant.compose(sampled, mechanism.steps)
    return float(accountant.get_epsilon(delta))


CASES = [
    (0.6, 0.03, 48),
    (0.8, 0.01, 3000),
    (0.87, 0.11, 48),
    (1.5, 0.2, 100),
    (5.0, 1.0, 10),
]


@pytest.mark.parametrize(("noise", "rate", "steps"), CASES)
def test_epsilon_agrees_with_pld(noise: float, rate: float, steps: int) -> None:
    history = [Mechanism(noise_multiplier=noise, sample_rate=rate, steps=steps)]
    ours, theirs = prv_epsilon(history, 1e-5), pld_epsilon(history, 1e-5)
    assert ours == pytest.approx(theirs, rel=0.01, abs=0.02)
    # Ours is an upper bound up to the other's own discretisation.
    assert ours > theirs - 1e-3


@pytest.mark.parametrize(("noise", "rate", "steps"), CASES)
def test_the_quick_choice_of_grid_gives_what_opacus_own_gives(
    noise: float, rate: float, steps: int
) -> None:
    """Catches a grid that is too small to hold the losses, which would understate epsilon."""
    theirs = PRVAccountant()
    theirs.history = [(noise, rate, steps)]
    history = [Mechanism(noise_multiplier=noise, sample_rate=rate, steps=steps)]
    assert prv_epsilon(history, 1e-5) == pytest.approx(theirs.get_epsilon(1e-5), rel=1e-3)


def test_rounds_and_different_mechanisms_compose() -> None:
    """Five rounds are one long run; adding epsilons up would give far more."""
    one = Mechanism(noise_multiplier=1.0, sample_rate=0.05, steps=20)
    other = Mechanism(noise_multiplier=1.4, sample_rate=0.1, steps=30)
    history = [one] * 5 + [other]
    assert merge(history) == (
        Mechanism(noise_multiplier=1.0, sample_rate=0.05, steps=100),
        other,
    )
    composed = prv_epsilon(history, 1e-5)
    assert composed == pytest.approx(pld_epsilon(history, 1e-5), rel=0.01)
    assert composed < 5 * prv_epsilon([one], 1e-5)


def test_nothing_spent_is_zero() -> None:
    assert prv_epsilon([], 1e-5) == 0.0


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 8.0, 20.0])
def test_solved_noise_is_within_the_budget_and_tight(epsilon: float) -> None:
    noise = solve_noise_multiplier(
        epsilon=epsilon, delta=1e-5, sample_rate=0.05, steps=60, accountant=prv_epsilon
    )
    mechanism = Mechanism(noise_multiplier=noise, sample_rate=0.05, steps=60)
    assert 0.97 * epsilon < prv_epsilon([mechanism], 1e-5) <= epsilon
    assert pld_epsilon([mechanism], 1e-5) <= epsilon * 1.005
