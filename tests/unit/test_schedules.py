"""Learning rates over a run: by the number of a step alone, however rounds cut it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.client.training.schedules import SCHEDULES, rate_factor
from fedloom.client.training.trainer import Trainer
from fedloom.shared.phases import phase_in, phases_of
from fedloom.shared.plan import Plan
from tests.support.plans import a_plan, a_training
from tests.support.training import fixed_stream, make_plan, no_units, site_plan

schedules = st.sampled_from(sorted(SCHEDULES))
warmups = st.floats(0, 1, exclude_max=True)


def plan_of(rounds: int, steps: int, head_rounds: int = 0, **training: object) -> Plan:
    total = a_plan().rounds.model_copy(update={"total": rounds})
    changed = a_training(local_steps=steps, head_rounds=head_rounds, **training)
    return a_plan(rounds=total, training=changed)


def factors(plan: Plan) -> list[float]:
    """As a trainer asks for them, round after round."""
    found = []
    for number in range(1, plan.rounds.total + 1):
        phase = phase_in(plan, number)
        for step in range(phase.local_steps):
            found.append(
                rate_factor(
                    plan.training.schedule,
                    step=phase.step_number(number, step),
                    steps=phase.steps,
                    warmup=plan.training.warmup,
                )
            )
    return found


@given(schedules, warmups, st.sampled_from([(1, 24), (24, 1), (2, 12), (8, 3)]))
def test_how_rounds_cut_a_run_does_not_change_its_rates(
    schedule: str, warmup: float, cut: tuple[int, int]
) -> None:
    whole = plan_of(4, 6, schedule=schedule, warmup=warmup)
    assert factors(plan_of(*cut, schedule=schedule, warmup=warmup)) == factors(whole)


@given(schedules, warmups, st.integers(1, 60))
def test_rates_rise_once_then_fall_and_never_end(schedule: str, warmup: float, steps: int) -> None:
    found = factors(plan_of(1, steps, schedule=schedule, warmup=warmup))
    assert all(0 < factor <= 1 for factor in found)
    top = int(np.argmax(found))
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
    assert top <= warmup * steps


def test_known_values() -> None:
    assert factors(plan_of(1, 4, schedule="linear")) == [1.0, 0.75, 0.5, 0.25]
    cosine = [1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]
    assert factors(plan_of(1, 4, schedule="cosine")) == pytest.approx(cosine)
    warmed = [0.5, 1.0, 1.0, 0.5]
    assert factors(plan_of(2, 2, schedule="linear", warmup=0.5)) == warmed
    assert factors(plan_of(2, 2)) == [1.0] * 4


def test_head_rounds_have_a_schedule_of_their_own() -> None:
    """Else adapters would begin when little is left of their rate."""
    plan = plan_of(3, 2, head_rounds=2, schedule="linear")
    assert factors(plan) == [1.0, 0.75, 0.5, 0.25, 1.0, 0.5]


def test_a_trainer_moves_by_the_rate_of_its_round_and_step(tiny_model: Path) -> None:
    """One noised step a round on no records: the same draw, at the schedule's rate."""
    silent = site_plan(noise=1.0, rate=0.1)
    plan = make_plan(tiny_model, site=silent)
    training = plan.training.model_copy(update={"schedule": "linear"})
    rounds = plan.rounds.model_copy(update={"total": 4})
    plan = plan.model_copy(update={"training": training, "rounds": rounds})
    trainer = Trainer(plan, tiny_model)
    moved = []
    for number in range(1, 5):
        trainer.load(trainer.start)
        moved.append(trainer.train(silent, no_units(), stream=fixed_stream(), round_number=number))
    for at, factor in enumerate((1.0, 0.75, 0.5, 0.25)):
        np.testing.assert_allclose(moved[at], factor * moved[0], atol=1e-6)
    assert np.linalg.norm(moved[0]) > 1


def test_a_round_of_another_phase_is_refused(tiny_model: Path) -> None:
    plan = make_plan(tiny_model, head_rounds=1)
    trainer = Trainer(plan, tiny_model)
    with pytest.raises(ValueError, match="round 2: expected one of 1 to 1"):
        trainer.train(plan.sites[0], no_units(), stream=fixed_stream(), round_number=2)
    assert len(phases_of(plan)) == 1
