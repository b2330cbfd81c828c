"""The noise that leaves a site has the distribution that the accountant assumes.

False alarms: seeds are fixed, so a run is repeatable; over seeds, each check below would fail by
chance with a probability under 1e-6.
"""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from fedloom.client.training.optimizer import SecureDPOptimizer
from fedloom.client.training.randomness import Stream, task_stream
from fedloom.client.training.trainer import Trainer
from fedloom.shared.wire.messages import TrainTask
from tests.support.training import fixed_stream, make_plan, no_units, site_plan

FALSE_ALARM = 1e-8
NOISE, CLIP, BATCH, RATE, STEPS = 1.7, 0.6, 4, 0.5, 2
ROUNDS = 12


def noise_by_tensor(model: Path, method: str) -> dict[str, NDArray[np.float64]]:
    """Standardised noise of each trained tensor, from rounds on a site without any records."""
    plan = make_plan(
        model, clip_norm=CLIP, steps=STEPS, batch=BATCH, rate=RATE, method=method,
        site=site_plan(noise=NOISE),
    )  # fmt: skip
    trainer = Trainer(plan, model)
    deltas = [
        trainer_round(trainer, plan.sites[0], fixed_stream(f"noise-{number}"))
        for number in range(ROUNDS)
    ]
    deviation = RATE * NOISE * CLIP / BATCH * np.sqrt(STEPS)
    stacked = np.array(deltas, dtype=np.float64) / deviation
    return {spec.name: stacked[:, at].ravel() for spec, at in trainer.trained.slices()}


def trainer_round(trainer, site, stream):  # type: ignore[no-untyped-def]
    trainer.load(trainer.start)
    return trainer.train(site, no_units(), stream=stream)


def check_noise(by_tensor: dict[str, NDArray[np.float64]]) -> None:
    """Every tensor, and all together, are N(0, 1): variance by chi-square, shape by KS."""
    together = {"all tensors": np.concatenate(list(by_tensor.values()))}
    for name, draws in (by_tensor | together).items():
        tails = stats.chi2.cdf((draws**2).sum(), df=draws.size)
        assert FALSE_ALARM < tails < 1 - FALSE_ALARM, f"{name}: variance {draws.var():.3f}"
        assert stats.kstest(draws, "norm").pvalue > FALSE_ALARM, f"{name}: not Gaussian"


@pytest.mark.parametrize("method", ["fedit", "ffa-lora"])
def test_every_trained_tensor_gets_the_noise_it_claims(tiny_model: Path, method: str) -> None:
    by_tensor = noise_by_tensor(tiny_model, method)
    assert any("classifier" in name for name in by_tensor), "the head must be covered"
    check_noise(by_tensor)


def test_tensors_and_rounds_do_not_share_noise(tiny_model: Path) -> None:
    """Catches a generator that is reseeded for each tensor, step or round."""
    by_tensor = noise_by_tensor(tiny_model, "fedit")
    every = np.concatenate(list(by_tensor.values()))
    assert len(np.unique(every)) == every.size
    rounds = np.concatenate([draws.reshape(ROUNDS, -1) for draws in by_tensor.values()], axis=1)
    correlation = np.corrcoef(rounds)[np.triu_indices(ROUNDS, k=1)]
    assert np.abs(correlation).max() < 7 / np.sqrt(rounds.shape[1])


def test_control_noise_missing_on_one_tensor_is_caught(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = SecureDPOptimizer.add_noise

    def forgetful(self: SecureDPOptimizer) -> None:
        honest(self)
        self.params[-1].grad = self.params[-1].summed_grad.clone()

    monkeypatch.setattr(SecureDPOptimizer, "add_noise", forgetful)
    with pytest.raises(AssertionError, match="variance"):
        check_noise(noise_by_tensor(tiny_model, "ffa-lora"))


def test_control_noise_a_tenth_too_small_is_caught(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Stream.normal
    monkeypatch.setattr(Stream, "normal", lambda self, count: 0.9 * honest(self, count))
    with pytest.raises(AssertionError, match="variance"):
        check_noise(noise_by_tensor(tiny_model, "fedit"))


def test_stream_draws_uniforms_and_gaussians() -> None:
    stream = fixed_stream()
    uniforms = stream.uniform(200_000)
    assert uniforms.min() >= 0 and uniforms.max() < 1
    assert stats.kstest(uniforms, "uniform").pvalue > FALSE_ALARM
    assert stats.kstest(stream.normal(200_000), "norm").pvalue > FALSE_ALARM


def test_stream_is_aes_in_counter_mode() -> None:
    """Against the textbook construction: each block is AES of a counter."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key = bytes(range(32))
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - the reference
    words = np.frombuffer(
        b"".join(block.update(number.to_bytes(16, "big")) for number in range(3)), dtype="<u8"
    )
    expected = [(int(word) >> 11) / 2**53 for word in words]
    assert Stream(key).uniform(6).tolist() == expected


def test_a_gaussian_is_half_the_sum_of_four_that_share_no_uniform() -> None:
    """Against Box and Muller spelt out; a cosine in single precision would show."""
    uniforms = fixed_stream().uniform(24)
    each = np.array(
        [
            math.sqrt(-2 * math.log(1 - first)) * math.cos(2 * math.pi * second)
            for first, second in zip(uniforms[:12], uniforms[12:], strict=True)
        ]
    )
    expected = each.reshape(4, 3).sum(axis=0) / 2
    np.testing.assert_allclose(fixed_stream().normal(3), expected, rtol=1e-12)


def test_unseeded_tasks_draw_from_the_sites_key_alone(tiny_model: Path) -> None:
    plan = make_plan(tiny_model, seed=None)
    task = TrainTask(plan=plan, site="north", round=1, adapter=Trainer(plan, tiny_model).start)
    first, again, other = (task_stream(task, key * 32).uniform(8) for key in (b"a", b"a", b"b"))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_seeded_sites_and_rounds_differ(tiny_model: Path) -> None:
    """Two sites with one seed must not draw the same noise."""
    plan = make_plan(tiny_model, seed=1)
    adapter = Trainer(plan, tiny_model).start
    draws = {
        tuple(
            task_stream(
                TrainTask(plan=plan, site=site, round=number, adapter=adapter), bytes(32)
            ).uniform(4)
        )
        for site in ("north", "south")
        for number in (1, 2)
    }
    assert len(draws) == 4
