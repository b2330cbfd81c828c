"""Which tensors train in which round."""

import pytest

from fedloom.shared.errors import PlanError
from fedloom.shared.phases import phase_in, phases_of
from fedloom.shared.plan import AggregationPlan, Plan
from tests.support.plans import ROUNDS, STEPS, a_plan, a_training, an_adapter

HEAD = {"classifier.weight"}
OF_METHOD = {
    "fedit": {"l.lora_A.weight", "l.lora_B.weight", *HEAD},
    "ffa-lora": {"l.lora_B.weight", *HEAD},
}


def plan_of(method: str, head_rounds: int) -> Plan:
    aggregation = AggregationPlan(method=method, weights="uniform", max_update_norm=1.0)
    training = a_training(head_rounds=head_rounds, head_local_steps=5)
    return a_plan(aggregation=aggregation, training=training)


@pytest.mark.parametrize("method", sorted(OF_METHOD))
@pytest.mark.parametrize("head_rounds", range(ROUNDS + 1))
def test_each_round_trains_the_head_or_what_its_method_trains(
    method: str, head_rounds: int
) -> None:
    plan = plan_of(method, head_rounds)
    for number in range(1, ROUNDS + 1):
        phase = phase_in(plan, number)
        expected = HEAD if number <= head_rounds else OF_METHOD[method]
        assert phase.layout(an_adapter().layout).names == expected
        assert phase.local_steps == (5 if number <= head_rounds else STEPS)


@pytest.mark.parametrize("head_rounds", range(ROUNDS + 1))
def test_phases_are_all_rounds_and_all_steps(head_rounds: int) -> None:
    plan = plan_of("fedit", head_rounds)
    phases = phases_of(plan)
    rounds = [at for phase in phases for at in range(phase.first, phase.last + 1)]
    assert rounds == list(range(1, ROUNDS + 1))
    by_round = [phase_in(plan, number).local_steps for number in rounds]
    assert sum(phase.steps for phase in phases) == sum(by_round)
    assert plan.training.steps_through(ROUNDS) == sum(by_round)
    assert [plan.training.steps_in(number) for number in rounds] == by_round


def test_a_round_beyond_the_last_has_no_phase() -> None:
    with pytest.raises(PlanError, match="no round 4"):
        phase_in(a_plan(), ROUNDS + 1)
