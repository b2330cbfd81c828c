"""Sampling is Poisson: independent for each unit and step, at the rate that was planned.

False alarms: fixed seed; over seeds, each check fails by chance with a probability under 1e-7.
"""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from fedloom.client.training.randomness import Stream
from fedloom.client.training.units import TrainingUnits
from fedloom.shared.tasks.base import Example
from tests.support.training import fixed_stream

FALSE_ALARM = 1e-8
UNITS, RATE, DRAWS = 300, 0.07, 2_000

Sampler = Callable[[Stream], NDArray[np.bool_]]


def poisson(stream: Stream) -> NDArray[np.bool_]:
    """Which units FedLoom's sampler takes; unit u has the example of that number."""
    examples = tuple(Example(tokens=(unit,), label=0) for unit in range(UNITS))
    units = TrainingUnits(examples=examples, groups=tuple((unit,) for unit in range(UNITS)), cap=1)
    taken = np.zeros(UNITS, dtype=bool)
    for group in units.sample(rate=RATE, stream=stream):
        taken[group[0]] = True
    return taken


def check_poisson(sampler: Sampler) -> None:
    stream = fixed_stream("poisson")
    taken = np.array([sampler(stream) for _ in range(DRAWS)])
    total = stats.binomtest(int(taken.sum()), taken.size, RATE)
    assert total.pvalue > FALSE_ALARM, "overall rate"
    by_unit = ((taken.sum(axis=0) - DRAWS * RATE) ** 2).sum() / (DRAWS * RATE * (1 - RATE))
    assert FALSE_ALARM < stats.chi2.cdf(by_unit, df=UNITS) < 1 - FALSE_ALARM, "rate by unit"
    sizes = taken.sum(axis=1)
    spread = ((sizes - UNITS * RATE) ** 2).sum() / (UNITS * RATE * (1 - RATE))
    assert FALSE_ALARM < stats.chi2.cdf(spread, df=DRAWS) < 1 - FALSE_ALARM, "batch sizes"
    again = (taken[1:] & taken[:-1]).sum()
    repeat = stats.binomtest(int(again), UNITS * (DRAWS - 1), RATE**2)
    assert repeat.pvalue > FALSE_ALARM, "independence of steps"


def test_sampling_is_poisson() -> None:
    check_poisson(poisson)


def test_control_fixed_size_batches_are_caught() -> None:
    def fixed(stream: Stream) -> NDArray[np.bool_]:
        taken = np.zeros(UNITS, dtype=bool)
        taken[np.argsort(stream.uniform(UNITS))[: round(UNITS * RATE)]] = True
        return taken

    with pytest.raises(AssertionError, match="batch sizes"):
        check_poisson(fixed)


def test_control_a_batch_that_is_kept_for_two_steps_is_caught() -> None:
    kept: list[NDArray[np.bool_]] = []

    def sticky(stream: Stream) -> NDArray[np.bool_]:
        kept.append(kept[-1] if len(kept) % 2 else poisson(stream))
        return kept[-1]

    with pytest.raises(AssertionError):
        check_poisson(sticky)


def test_control_steps_that_avoid_each_other_are_caught() -> None:
    """Rates and batch sizes are right; only that a unit never comes twice running is not."""
    draws: list[NDArray[np.float64]] = []

    def antithetic(stream: Stream) -> NDArray[np.bool_]:
        draws.append(1 - draws[-1] if len(draws) % 2 else stream.uniform(UNITS))
        return draws[-1] < RATE

    with pytest.raises(AssertionError, match="independence of steps"):
        check_poisson(antithetic)


def test_rate_one_takes_everybody_and_records_above_the_cap_are_left_out() -> None:
    examples = tuple(Example(tokens=(at,), label=0) for at in range(20))
    units = TrainingUnits(examples=examples, groups=(tuple(range(18)), (18, 19)), cap=5)
    first, second = units.sample(rate=1.0, stream=fixed_stream())
    assert len(first) == 5 and len(set(first)) == 5
    assert second == (18, 19)
