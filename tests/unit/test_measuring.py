"""A site's held-out counts: what one unit can move, and that nothing but the noise is added."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fedloom.client.site.measuring import SENSITIVITY, held_out_sums
from fedloom.client.training.trainer import Trainer
from fedloom.client.training.units import TrainingUnits
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.sections import TaskSection
from fedloom.shared.data.records import Record
from fedloom.shared.plan import Plan
from fedloom.shared.tasks.base import Example
from tests.support.language import questions, write_tiny_llama, write_tiny_t5
from tests.support.training import (
    fixed_stream,
    make_plan,
    records,
    site_plan,
    units_of,
    warmed,
)

Judge = Callable[[Sequence[Example]], Sequence[bool]]


def by_length(examples: Sequence[Example]) -> list[bool]:
    """A judge that needs no model: whether an example has an even number of tokens."""
    return [len(example.tokens) % 2 == 0 for example in examples]


def units_with(*lengths: Sequence[int], cap: int = 1000) -> TrainingUnits:
    """One unit for each sequence, a record of so many tokens for each number in it."""
    examples, groups = [], []
    for unit in lengths:
        groups.append(tuple(range(len(examples), len(examples) + len(unit))))
        examples += [Example(tokens=(1,) * length, label=0) for length in unit]
    return TrainingUnits(examples=tuple(examples), groups=tuple(groups), cap=cap)


def without(units: TrainingUnits, gone: int) -> TrainingUnits:
    """The same site had that unit never been there."""
    examples: list[Example] = []
    groups: list[tuple[int, ...]] = []
    for number, group in enumerate(units.groups):
        if number != gone:
            groups.append(tuple(range(len(examples), len(examples) + len(group))))
            examples += [units.examples[at] for at in group]
    return TrainingUnits(examples=tuple(examples), groups=tuple(groups), cap=units.cap)


def moves(units: TrainingUnits, judge: Judge) -> NDArray[np.float64]:
    """How far each unit, taken out by itself, moves the two sums; shape (units, 2)."""
    whole = held_out_sums(units, judge)
    count = len(units.groups)
    return np.array([whole - held_out_sums(without(units, at), judge) for at in range(count)])


def check_moves(moved: NDArray[np.float64]) -> None:
    assert np.all(moved[:, 0] == 1), "each unit counts once"
    assert np.all((moved[:, 1] >= -1e-9) & (moved[:, 1] <= 1 + 1e-9)), "and is right once at most"
    assert np.linalg.norm(moved, axis=1).max() <= SENSITIVITY + 1e-9


def test_the_sums_are_units_and_the_shares_of_them_that_are_right() -> None:
    units = units_with([2], [3], [2, 3, 4, 5], [2, 2, 2])
    assert held_out_sums(units, by_length).tolist() == [4.0, 1 + 0 + 0.5 + 1]
    assert held_out_sums(units_with(), by_length).tolist() == [0.0, 0.0]


def test_a_person_with_a_thousand_records_moves_no_more_than_anybody() -> None:
    units = units_with([2], [2] * 1000, [3], [2, 3])
    check_moves(moves(units, by_length))


def test_control_records_that_each_count_are_caught() -> None:
    """Without shares, a person's records would each move the sums."""
    units = units_with([2], [2] * 1000, [3])
    by_record = units_with(*([length] for group in ([2], [2] * 1000, [3]) for length in group))
    moved = held_out_sums(by_record, by_length) - held_out_sums(without(units, 1), by_length)
    with pytest.raises(AssertionError):
        check_moves(moved[None])


def test_of_many_records_the_first_few_count_whoever_else_is_there() -> None:
    units = units_with([3, 3], [2, 2, 3, 3, 3], cap=2)
    judged: list[int] = []

    def counting(examples: Sequence[Example]) -> list[bool]:
        judged.append(len(examples))
        return by_length(examples)

    assert held_out_sums(units, counting).tolist() == [2.0, 1.0]
    assert judged == [4], "what does not count is not looked at"


def test_the_sensitivity_is_that_of_both_counts() -> None:
    assert math.isclose(SENSITIVITY, math.hypot(1, 1))


def on_the_edge(trainer: Trainer, plan: Plan, model: Path) -> None:
    """Load an adapter whose two classes differ by the last bits alone: rounding decides."""
    state = {name: at.copy() for name, at in warmed(trainer, plan, model).state().items()}
    (head,) = (name for name in state if name.endswith("classifier.weight"))
    generator = np.random.default_rng(0)
    first = (1e3 * generator.standard_normal(state[head].shape[1])).astype(np.float32)
    away = np.sign(generator.standard_normal(first.shape)).astype(np.float32)
    state[head] = np.stack([first, np.nextafter(first, np.float32(np.inf) * away)])
    state[head.replace("weight", "bias")][:] = 0
    trainer.load(Adapter.from_state(state))


def short_and_one_long(trainer: Trainer) -> TrainingUnits:
    """Some fifty records of eight tokens at most, and one that is longer."""
    rows = records(400, seed=4)
    units = units_of(trainer, rows)
    short = [row for row, at in zip(rows, units.examples, strict=True) if len(at.tokens) <= 8]
    long = next(row for row, at in zip(rows, units.examples, strict=True) if len(at.tokens) > 12)
    return units_of(trainer, [*short[:50], long])


def test_nobody_changes_how_another_is_judged_even_where_rounding_decides(
    tiny_model: Path,
) -> None:
    """A server may choose such an adapter, at which one record in a batch would turn many."""
    plan = make_plan(tiny_model)
    trainer = Trainer(plan, tiny_model)
    on_the_edge(trainer, plan, tiny_model)
    units = short_and_one_long(trainer)
    assert len(units.groups) > 30
    assert 0 < sum(trainer.right(units.examples)) < len(units.groups)
    check_moves(moves(units, trainer.right))


def test_control_a_judge_that_looks_at_the_whole_batch_is_caught(tiny_model: Path) -> None:
    """As rounding does on some processors: a longer record pads the others, and turns them."""
    trainer = Trainer(make_plan(tiny_model), tiny_model)

    def in_a_batch(examples: Sequence[Example]) -> list[bool]:
        padded = max((len(at.tokens) for at in examples), default=0) > 12
        return [right != padded for right in trainer.right(examples)]

    with pytest.raises(AssertionError, match="right once"):
        check_moves(moves(short_and_one_long(trainer), in_a_batch))


def _encoder(tiny: Path, _: Path) -> tuple[Path, Plan, list[Record]]:
    return tiny, make_plan(tiny), records(20)


def _causal(_: Path, folder: Path) -> tuple[Path, Plan, list[Record]]:
    model = write_tiny_llama(folder / "model")
    task = TaskSection(kind="causal-lm", labels=("good", "bad"))
    return model, make_plan(model, targets=("q_proj",), task=task), questions(20)


def _seq2seq(_: Path, folder: Path) -> tuple[Path, Plan, list[Record]]:
    model = write_tiny_t5(folder / "model")
    plan = make_plan(model, targets=("q",), task=TaskSection(kind="seq2seq"))
    return model, plan, questions(20, free=True)


@pytest.mark.parametrize("kind", [_encoder, _causal, _seq2seq])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_kind_of_task_is_judged_and_scores_that_are_no_number_are_wrong(
    tiny_model: Path, tmp_path: Path, kind: Callable[..., tuple], precision: str
) -> None:
    """An argmax over NaN is the first class, which would be right for half of the records."""
    model, plan, rows = kind(tiny_model, tmp_path)
    training = plan.training.model_copy(update={"precision": precision})
    plan = plan.model_copy(update={"training": training})
    trainer = Trainer(plan, model)
    start = warmed(trainer, plan, model)
    examples = units_of(trainer, rows).examples
    found = trainer.right(examples)
    assert len(found) == len(rows) and found == trainer.right(examples)
    broken = Adapter(layout=start.layout, flat=np.full_like(start.flat, np.nan))
    trainer.load(broken)
    assert trainer.right(examples) == [False] * len(rows)


def test_measuring_changes_no_byte_of_the_update(tiny_model: Path) -> None:
    """Dropout too must draw in training what it would have drawn."""
    plan = make_plan(tiny_model, steps=2, rate=0.5, site=site_plan(noise=0.5, rate=0.5))
    plan = plan.model_copy(update={"lora": plan.lora.model_copy(update={"dropout": 0.4})})
    trainer = Trainer(plan, tiny_model)
    start, units = warmed(trainer, plan, tiny_model), units_of(trainer, records(30))
    updates, told = [], []
    for measured in (False, True, True):
        trainer.load(start)
        if measured:
            told.append(trainer.right(units.examples))
        updates.append(trainer.train(plan.sites[0], units, stream=fixed_stream()).tobytes())
    assert updates[0] == updates[1] == updates[2]
    assert told[0] == told[1], "without dropout"
    assert np.count_nonzero(np.frombuffer(updates[0], np.float32))
