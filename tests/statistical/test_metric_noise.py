"""The noise on held-out counts is what the ledger is charged for.

False alarms: seeds are fixed, so a run is repeatable; over seeds, each check below would fail by
chance with a probability under 1e-6.
"""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from fedloom.client.site.measuring import release
from fedloom.client.training.randomness import Stream
from tests.support.training import fixed_stream

FALSE_ALARM = 1e-8
NOISE, SUMS, TIMES = 12.5, np.array([431.0, 300.25]), 20_000


def draws() -> NDArray[np.float64]:
    """Standardised noise of many releases, shape (times, 2); the deviation is spelt out."""
    told = [
        release(SUMS, noise_multiplier=NOISE, stream=fixed_stream(f"metric-{number}"))
        for number in range(TIMES)
    ]
    counts = np.array([(each.units, each.right) for each in told])
    return (counts - SUMS) / (NOISE * 2**0.5)


def check_noise(found: NDArray[np.float64]) -> None:
    for name, each in zip(("units", "right"), found.T, strict=True):
        tails = stats.chi2.cdf((each**2).sum(), df=each.size)
        assert FALSE_ALARM < tails < 1 - FALSE_ALARM, f"{name}: variance {each.var():.3f}"
        assert stats.kstest(each, "norm").pvalue > FALSE_ALARM, f"{name}: not Gaussian"
    correlation = float(np.corrcoef(found.T)[0, 1])
    assert abs(correlation) < 6 / np.sqrt(len(found)), "the two share their noise"


def test_either_count_has_the_noise_it_is_charged_for() -> None:
    check_noise(draws())


def test_control_noise_a_twentieth_too_small_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Stream.normal
    monkeypatch.setattr(Stream, "normal", lambda self, count: 0.95 * honest(self, count))
    with pytest.raises(AssertionError, match="variance"):
        check_noise(draws())


def test_control_one_draw_for_both_counts_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Stream.normal
    monkeypatch.setattr(Stream, "normal", lambda self, count: np.repeat(honest(self, 1), count))
    with pytest.raises(AssertionError, match="share"):
        check_noise(draws())


def test_what_is_told_has_no_bits_below_its_grid() -> None:
    """The last bits of a double would tell sums apart that the noise is to hide."""
    told = release(SUMS, noise_multiplier=NOISE, stream=fixed_stream())
    for count in (told.units, told.right):
        assert (count * 1024).is_integer()
