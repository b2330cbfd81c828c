"""DP-SGD against a loop over single records, and what bounds one unit's influence."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from fedloom.client.training.clipping import CLIPPINGS
from fedloom.client.training.optimizer import SecureDPOptimizer
from fedloom.client.training.per_sample import gather_units, with_grad_samples
from fedloom.client.training.trainer import Trainer
from fedloom.shared.data.records import Record
from fedloom.shared.errors import TrainingError
from tests.support.tiny import write_tiny_model
from tests.support.training import (
    check_alone_in_its_batch,
    fixed_stream,
    make_plan,
    naive_clipped_sum,
    records,
    shapes_of_rows,
    site_plan,
    units_of,
    warmed,
)

# So little noise that a step of rate 1 on batch 1 shows minus the clipped sum.
SILENT = site_plan(noise=1e-9)


def clipped_sum(
    model: Path,
    rows: list[Record],
    *,
    clip_norm: float,
    unit: str = "record",
    method: str = "fedit",
    micro_tokens: int = 7 * 32,
    targets: tuple[str, ...] = ("query", "value"),
    clipping: str = "flat",
) -> NDArray[np.float64]:
    """What one private step of the product sums, read off its update."""
    plan = make_plan(
        model, clip_norm=clip_norm, unit=unit, method=method, micro_tokens=micro_tokens,
        targets=targets, clipping=clipping, site=SILENT,
    )  # fmt: skip
    trainer = Trainer(plan, model)
    warmed(trainer, plan, model)
    units = units_of(trainer, rows, unit=unit)
    return -trainer.train(plan.sites[0], units, stream=fixed_stream()).astype(np.float64)


@pytest.mark.parametrize("method", ["fedit", "ffa-lora"])
@pytest.mark.parametrize("unit", ["record", "author"])
@pytest.mark.parametrize(
    "targets", [("query", "value"), ("query", "key", "value", "dense")], ids=["qv", "all"]
)
@pytest.mark.parametrize("clipping", sorted(CLIPPINGS))
def test_step_equals_a_loop_over_single_records(
    tiny_model: Path, method: str, unit: str, targets: tuple[str, ...], clipping: str
) -> None:
    """Padding, several lengths, several records a unit: nothing may couple the rows."""
    rows = records(23)
    plan = make_plan(
        tiny_model, clip_norm=0.15, unit=unit, method=method, targets=targets,
        clipping=clipping, site=SILENT,
    )  # fmt: skip
    trainer = Trainer(plan, tiny_model)
    adapter = warmed(trainer, plan, tiny_model)
    units = units_of(trainer, rows, unit=unit)
    groups = [[rows[at] for at in group] for group in units.groups]
    names = [spec.name for spec in trainer.trained.tensors]
    expected, norms = naive_clipped_sum(plan, tiny_model, adapter, groups, names)
    found = -trainer.train(plan.sites[0], units, stream=fixed_stream()).astype(np.float64)
    assert max(norms) > 0.15, "clipping must be at work"
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_pieces_change_only_rounding(tiny_model: Path) -> None:
    rows = records(40)
    whole = clipped_sum(tiny_model, rows, clip_norm=0.3, micro_tokens=100 * 32)
    for size in (1, 3 * 32, 16 * 32):
        cut = clipped_sum(tiny_model, rows, clip_norm=0.3, micro_tokens=size)
        np.testing.assert_allclose(cut, whole, atol=1e-5)


def check_one_person_moves_at_most_the_clip_norm(
    model: Path, micro_tokens: int = 224, clipping: str = "flat"
) -> None:
    clip_norm = 0.01
    others = records(12)
    person = records(1000, seed=9, unit="the-one")
    without, together = (
        clipped_sum(
            model,
            rows,
            clip_norm=clip_norm,
            unit="author",
            micro_tokens=micro_tokens,
            clipping=clipping,
        )
        for rows in (others, others + person)
    )
    assert np.linalg.norm(together - without) <= clip_norm * (1 + 1e-3)


@pytest.mark.parametrize("clipping", sorted(CLIPPINGS))
def test_one_person_with_a_thousand_records_moves_the_sum_by_at_most_the_clip_norm(
    tiny_model: Path, clipping: str
) -> None:
    check_one_person_moves_at_most_the_clip_norm(tiny_model, clipping=clipping)


def a_clipped_step(clipping: str, *units: list[float]) -> NDArray[np.float64]:
    """The sum of one step over units that hold one number for each of two tensors."""
    pair = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = SecureDPOptimizer(
        torch.optim.SGD(pair, lr=1.0), noise_multiplier=0.0, max_grad_norm=0.5,
        expected_batch_size=1, stream=fixed_stream(), rescale=CLIPPINGS[clipping],
    )  # fmt: skip
    for at, parameter in enumerate(pair):
        parameter.grad_sample = torch.tensor([[unit[at]] for unit in units])
    optimizer.step()
    return -np.array([parameter.item() for parameter in pair])


@pytest.mark.parametrize("clipping", sorted(CLIPPINGS))
@pytest.mark.parametrize("huge", [[3e4, -4e4], [3e38, 3e38], [1e-30, 0.0], [0.0, 0.0]])
def test_no_gradient_moves_the_sum_by_more_than_the_clip_norm(
    clipping: str, huge: list[float]
) -> None:
    """A norm beyond the range of numbers is no way around the bound."""
    alone = a_clipped_step(clipping, [0.1, 0.2])
    moved = a_clipped_step(clipping, [0.1, 0.2], huge) - alone
    assert np.linalg.norm(moved) <= 0.5 * (1 + 1e-6)


def test_a_rescaling_beyond_the_bound_is_clipped_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wild(rows: list[torch.Tensor], _bound: float) -> None:
        for row in rows:
            row.mul_(1e6)

    monkeypatch.setattr("tests.unit.test_dp_sgd.CLIPPINGS", {"wild": wild})
    assert np.linalg.norm(a_clipped_step("wild", [3.0, 4.0])) <= 0.5 * (1 + 1e-6)


@pytest.mark.parametrize("clipping", sorted(CLIPPINGS))
def test_control_clipping_skipped_is_caught(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, clipping: str
) -> None:
    def unclipped(self: SecureDPOptimizer) -> None:
        for parameter in self.params:
            summed = parameter.grad_sample.sum(dim=0)
            before = 0 if parameter.summed_grad is None else parameter.summed_grad
            parameter.summed_grad = before + summed

    monkeypatch.setattr(SecureDPOptimizer, "clip_and_accumulate", unclipped)
    with pytest.raises(AssertionError):
        check_one_person_moves_at_most_the_clip_norm(tiny_model, clipping=clipping)


def test_control_clipping_each_record_instead_of_the_person_is_caught(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_record(grad_sample: torch.Tensor, unit_of: torch.Tensor, units: int) -> torch.Tensor:
        # Undoes the mean over the unit's records, as per-record clipping would see them.
        counts = torch.bincount(unit_of, minlength=units)[unit_of]
        return grad_sample * counts.view(-1, *[1] * (grad_sample.dim() - 1))

    monkeypatch.setattr("fedloom.client.training.steps.gather_units", by_record)
    with pytest.raises(AssertionError):
        check_one_person_moves_at_most_the_clip_norm(tiny_model, micro_tokens=10**6)


def check_one_long_unit_moves_nobody_else_in_bf16(
    folder: Path, monkeypatch: pytest.MonkeyPatch, micro_tokens: int = 32 * 32
) -> None:
    """In bf16 sums round by how rows are padded and grouped."""
    model = write_tiny_model(folder, width=64, layers=2)
    plan = make_plan(model, clip_norm=1.0, micro_tokens=micro_tokens, site=SILENT)
    training = plan.training.model_copy(update={"precision": "bf16"})
    trainer = Trainer(plan.model_copy(update={"training": training}), model)
    adapter = warmed(trainer, plan, model)
    rows = records(256)
    long = Record(text="bad film " * 15, label=1, unit="long")

    def summed(chosen: list[Record]) -> NDArray[np.float64]:
        trainer.load(adapter)
        units = units_of(trainer, chosen)
        return trainer.train(plan.sites[0], units, stream=fixed_stream()).astype(np.float64)

    check_alone_in_its_batch(summed, long, rows, shapes_of_rows(monkeypatch, plan))


def test_one_long_unit_moves_nobody_else_in_bf16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_one_long_unit_moves_nobody_else_in_bf16(tmp_path / "model", monkeypatch)


def test_control_padding_by_the_longest_that_was_drawn_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedloom.shared.tasks.base.PADDED_TO", 1_000)
    monkeypatch.setattr("fedloom.shared.tasks.classification.PADDED_TO", 1)
    with pytest.raises(AssertionError):
        check_one_long_unit_moves_nobody_else_in_bf16(tmp_path / "model", monkeypatch, 32 * 1_000)


def test_an_empty_batch_still_adds_noise_and_steps(tiny_model: Path) -> None:
    plan = make_plan(tiny_model, site=site_plan(noise=1.0, rate=1e-9))
    trainer = Trainer(plan, tiny_model)
    warmed(trainer, plan, tiny_model)
    delta = trainer.train(plan.sites[0], units_of(trainer, records(5)), stream=fixed_stream())
    assert np.count_nonzero(delta) > 0.99 * delta.size


def test_a_gradient_that_is_not_finite_counts_as_zero() -> None:
    rows = torch.tensor([[1.0, 2.0], [float("nan"), 1.0], [float("inf"), 3.0], [1.0, 1.0]])
    found = gather_units(rows, torch.tensor([0, 1, 2, 0]), units=3)
    assert found.tolist() == [[2.0, 3.0], [0.0, 1.0], [0.0, 3.0]]


class _Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def test_a_parameter_without_a_rule_is_refused_by_name() -> None:
    with pytest.raises(TrainingError, match=r"1\.factor: no per-sample gradient rule for _Scale"):
        with_grad_samples(nn.Sequential(nn.Linear(3, 3), _Scale()))


def test_a_layer_that_mixes_records_is_refused_by_name() -> None:
    with pytest.raises(TrainingError, match="layer 1: batch normalisation mixes records"):
        with_grad_samples(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)))


def test_plain_training_learns_and_leaves_no_noise(tiny_model: Path) -> None:
    """Without privacy the same loop is ordinary SGD: two runs agree, and the loss falls."""
    still = site_plan(noise=0.0)
    plan = make_plan(tiny_model, mode="none", batch=40, rate=0.5, steps=1, site=still)
    trainer = Trainer(plan, tiny_model)
    warmed(trainer, plan, tiny_model)
    units = units_of(trainer, records(40))
    first = trainer.train(plan.sites[0], units, stream=fixed_stream())
    trainer.load(trainer.start)
    again = trainer.train(plan.sites[0], units, stream=fixed_stream("other"))
    np.testing.assert_allclose(first, again, atol=1e-6)
    assert np.linalg.norm(first) > 0
