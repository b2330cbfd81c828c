"""Training on kept hidden states gives what training through the whole model gives."""

import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fedloom.client.training.hidden_states import HiddenStates
from fedloom.client.training.pieces import MicroBatch, clip_groups
from fedloom.client.training.prefix import FrozenPrefix
from fedloom.client.training.trainer import Trainer
from fedloom.client.training.units import TrainingUnits
from fedloom.shared.adapter import Adapter
from fedloom.shared.plan import Plan
from tests.support.tiny import write_tiny_model
from tests.support.training import (
    fixed_stream,
    make_plan,
    records,
    site_plan,
    units_of,
    warmed,
)

ENOUGH = 10**9


@pytest.fixture
def deep_model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "deep", layers=4)


def plan_of(model: Path, *, last_layers: int | None = 1, **changes: object) -> Plan:
    plan = make_plan(model, steps=2, site=site_plan(noise=1e-9), clip_norm=0.2)
    lora = plan.lora.model_copy(update={"last_layers": last_layers})
    training = plan.training.model_copy(update=changes)
    return plan.model_copy(update={"lora": lora, "training": training})


NOWHERE = torch.zeros(0)


def piece_of(units: TrainingUnits) -> MicroBatch:
    """All units in one piece."""
    [[piece]] = clip_groups(units.groups, [units.examples[0]] * 10, max_tokens=10**6)
    return piece


def updates(model: Path, plan: Plan, cache: Path) -> tuple[NDArray[np.float32], ...]:
    """One round through the whole model, and the same on kept states."""
    trainer = Trainer(plan, model)
    adapter = warmed(trainer, plan, model)
    units = units_of(trainer, records(30))
    hidden = trainer.hidden_states(units.examples, cache, expected=10, max_bytes=ENOUGH)
    assert hidden is not None
    found = []
    for states in (None, hidden):
        trainer.load(adapter)
        stream = fixed_stream()
        found.append(trainer.train(plan.sites[0], units, stream=stream, hidden=states))
    return tuple(found)


@pytest.mark.parametrize("mode", ["dp-sgd", "none"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 2e-2)])
def test_kept_states_change_only_rounding(
    deep_model: Path, tmp_path: Path, mode: str, precision: str, tolerance: float
) -> None:
    plan = plan_of(deep_model, precision=precision)
    privacy = plan.privacy.model_copy(update={"mode": mode})
    whole, kept = updates(deep_model, plan.model_copy(update={"privacy": privacy}), tmp_path)
    error = np.linalg.norm(kept - whole) / np.linalg.norm(whole)
    assert error < tolerance


def test_control_states_of_another_record_are_caught(
    deep_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = HiddenStates.gather
    monkeypatch.setattr(HiddenStates, "gather", lambda *given: honest(*given).flip(0), raising=True)
    whole, kept = updates(deep_model, plan_of(deep_model), tmp_path)
    assert np.linalg.norm(kept - whole) / np.linalg.norm(whole) > 0.01


def test_layers_below_the_cut_are_not_computed(deep_model: Path, tmp_path: Path) -> None:
    trainer = Trainer(plan_of(deep_model), deep_model)
    units = units_of(trainer, records(10))
    hidden = trainer.hidden_states(units.examples, tmp_path, expected=10, max_bytes=ENOUGH)
    prefix = trainer._model.prefix
    assert prefix is not None and len(prefix.skipped) == 3
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    for layer in prefix.skipped:
        layer.intermediate.register_forward_hook(count)
    trainer.train(trainer._plan.sites[0], units, stream=fixed_stream(), hidden=hidden)
    assert calls == 0
    trainer.train(trainer._plan.sites[0], units, stream=fixed_stream())
    assert calls > 0


def test_states_are_the_owners_and_used_again(
    deep_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(plan_of(deep_model), deep_model)
    units = units_of(trainer, records(10))
    trainer.hidden_states(units.examples, tmp_path / "cache", expected=10, max_bytes=ENOUGH)
    [file] = (tmp_path / "cache").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    tokens = sum(len(example.tokens) for example in units.examples)
    assert file.stat().st_size == tokens * 16 * 4, "padding is not kept"
    monkeypatch.setattr(HiddenStates, "fill", lambda *_: pytest.fail("computed twice"))
    trainer.hidden_states(units.examples, tmp_path / "cache", expected=10, max_bytes=ENOUGH)


def test_a_file_cut_short_is_computed_again(deep_model: Path, tmp_path: Path) -> None:
    trainer = Trainer(plan_of(deep_model), deep_model)
    units = units_of(trainer, records(10))
    trainer.hidden_states(units.examples, tmp_path, expected=10, max_bytes=ENOUGH)
    [file] = tmp_path.glob("hidden-*")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    trainer.hidden_states(units.examples, tmp_path, expected=10, max_bytes=ENOUGH)
    assert file.read_bytes() == whole


def test_other_records_or_precision_have_other_files(deep_model: Path, tmp_path: Path) -> None:
    for changes in ({}, {"precision": "bf16"}):
        trainer = Trainer(plan_of(deep_model, **changes), deep_model)
        for seed in (0, 1):
            units = units_of(trainer, records(10, seed=seed))
            trainer.hidden_states(units.examples, tmp_path, expected=10, max_bytes=ENOUGH)
    assert len(list(tmp_path.glob("hidden-*"))) == 4


def test_states_of_another_frozen_adapter_have_another_file(
    deep_model: Path, tmp_path: Path
) -> None:
    """Below the head lies LoRA as it came with the task, and it may come from anywhere."""
    plan = make_plan(deep_model, head_rounds=1)
    trainer = Trainer(plan, deep_model)
    units = units_of(trainer, records(10))
    kept = [trainer.hidden_states(units.examples, tmp_path, expected=10, max_bytes=ENOUGH)]
    adapter = warmed(trainer, plan, deep_model)
    kept.append(trainer.hidden_states(units.examples, tmp_path, expected=10, max_bytes=ENOUGH))
    state = adapter.state()
    state["base_model.model.classifier.weight"] = state["base_model.model.classifier.weight"] + 1
    trainer.load(Adapter.from_state(state))
    kept.append(trainer.hidden_states(units.examples, tmp_path, expected=10, max_bytes=ENOUGH))
    assert len(list(tmp_path.glob("hidden-*"))) == 2, "the head lies above the cut"
    first, second, third = (states.gather(piece_of(units), NOWHERE) for states in kept if states)
    assert torch.equal(second, third) and not torch.allclose(first, second)


def test_states_under_another_scaling_have_another_file(deep_model: Path, tmp_path: Path) -> None:
    """In head rounds LoRA lies below the cut, and its alpha decides what arrives there."""
    plan = make_plan(deep_model, head_rounds=1)
    kept = []
    for alpha in (16.0, 64.0):
        other = plan.model_copy(update={"lora": plan.lora.model_copy(update={"alpha": alpha})})
        trainer = Trainer(other, deep_model)
        warmed(trainer, other, deep_model)
        units = units_of(trainer, records(10))
        kept.append(trainer.hidden_states(units.examples, tmp_path, expected=10, max_bytes=ENOUGH))
    first, second = (states.gather(piece_of(units), NOWHERE) for states in kept if states)
    assert not torch.allclose(first, second)


def test_dropout_is_off_while_states_are_kept(deep_model: Path, tmp_path: Path) -> None:
    """One draw of a mask would stand for every step, and depend on who came before."""
    plan = make_plan(deep_model, head_rounds=1)
    plan = plan.model_copy(update={"lora": plan.lora.model_copy(update={"dropout": 0.5})})
    trainer = Trainer(plan, deep_model)
    warmed(trainer, plan, deep_model)
    units = units_of(trainer, records(10))
    kept = [
        trainer.hidden_states(units.examples, tmp_path / name, expected=10, max_bytes=ENOUGH)
        for name in "ab"
    ]
    first, second = (states.gather(piece_of(units), NOWHERE) for states in kept if states)
    assert torch.equal(first, second)


def test_no_record_decides_whether_states_are_kept(deep_model: Path, tmp_path: Path) -> None:
    """In bf16 kept states round otherwise: one more record would move all the others."""
    trainer = Trainer(plan_of(deep_model), deep_model)
    short, long = records(1), [replace(records(1)[0], text="good film " * 40)]
    for rows in (short, long, short * 50):
        for limit, kept in ((32 * 16 * 4 * 100, True), (32 * 16 * 4 * 100 - 1, False)):
            found = trainer.hidden_states(
                units_of(trainer, rows).examples, tmp_path, expected=100, max_bytes=limit
            )
            assert (found is not None) == kept


def test_too_large_or_nothing_frozen_means_no_states(deep_model: Path, tmp_path: Path) -> None:
    trainer = Trainer(plan_of(deep_model), deep_model)
    units = units_of(trainer, records(10))
    assert trainer.hidden_states(units.examples, tmp_path, expected=10, max_bytes=1000) is None
    trainer = Trainer(plan_of(deep_model, last_layers=None), deep_model)
    assert trainer.hidden_states(units.examples, tmp_path, expected=10, max_bytes=ENOUGH) is None
    assert not list(tmp_path.glob("hidden-*"))


def test_a_cut_that_changes_the_losses_is_not_used(
    deep_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model may read a lower layer from above; then replaying is wrong, and not done."""
    honest: Callable[..., torch.Tensor] = FrozenPrefix.capture
    monkeypatch.setattr(FrozenPrefix, "capture", lambda *given: honest(*given).flip(0))
    assert Trainer(plan_of(deep_model), deep_model).prefix_name is None
