"""A model whose per-sample gradients are wrong is refused before it sees a record."""

from pathlib import Path

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from torch import nn
from transformers import BertTokenizerFast, LongformerConfig, LongformerModel

from fedloom.client.training import passed_checks, trained_model
from fedloom.client.training.fused import LoraTerms
from fedloom.client.training.passed_checks import PassedChecks
from fedloom.client.training.trainer import Trainer
from fedloom.shared.errors import TrainingError
from fedloom.shared.plan import Plan
from fedloom.shared.tasks.base import Batch
from fedloom.shared.tasks.classification import Classification
from tests.support.tiny import write_tiny_tokenizer
from tests.support.training import fixed_stream, make_plan, records, units_of

NOT_SINGLE = "per-sample gradients are not those of single records"


def plan_in(model: Path, precision: str) -> Plan:
    plan = make_plan(model)
    training = plan.training.model_copy(update={"precision": precision})
    return plan.model_copy(update={"training": training})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["fedit", "ffa-lora"])
def test_a_sound_model_passes(tiny_model: Path, precision: str, method: str) -> None:
    plan = plan_in(tiny_model, precision)
    aggregation = plan.aggregation.model_copy(update={"method": method})
    Trainer(plan.model_copy(update={"aggregation": aggregation}), tiny_model)


def test_dropout_in_lora_does_not_disturb_the_check(tiny_model: Path) -> None:
    plan = make_plan(tiny_model)
    lora = plan.lora.model_copy(update={"dropout": 0.3})
    trainer = Trainer(plan.model_copy(update={"lora": lora}), tiny_model)
    units = units_of(trainer, records(20))
    first, second = (
        trainer.train(plan.sites[0], units, stream=fixed_stream(label)) for label in ("a", "b")
    )
    assert np.isfinite(first).all() and not np.array_equal(first, second)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_control_a_loss_that_sees_other_rows_is_refused(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    honest = Classification.losses

    def coupled(self: Classification, model: nn.Module, batch: Batch) -> torch.Tensor:
        losses = honest(self, model, batch)
        return losses * losses.mean()

    monkeypatch.setattr(Classification, "losses", coupled)
    with pytest.raises(TrainingError, match=NOT_SINGLE):
        Trainer(plan_in(tiny_model, precision), tiny_model)


@pytest.mark.parametrize(("precision", "factor"), [("fp32", 1.01), ("bf16", 1.01), ("fp32", 0.0)])
def test_control_a_wrong_rule_is_refused(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, precision: str, factor: float
) -> None:
    """As when a new version of a library changes what a hook sees."""
    samplers = dict(GradSampleModule.GRAD_SAMPLERS)
    honest = samplers[nn.Linear]

    def wrong(*arguments: object) -> dict[nn.Parameter, torch.Tensor]:
        return {parameter: rows * factor for parameter, rows in honest(*arguments).items()}

    monkeypatch.setattr(GradSampleModule, "GRAD_SAMPLERS", samplers | {nn.Linear: wrong})
    with pytest.raises(TrainingError, match=rf"parameter .*classifier.weight: .*{NOT_SINGLE}"):
        Trainer(plan_in(tiny_model, precision), tiny_model)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_control_a_wrong_fused_layer_is_refused(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    def no_scaling(*arguments: object, **terms: object) -> LoraTerms:
        return LoraTerms(*arguments, **(terms | {"scaling": 1.0}))

    monkeypatch.setattr("fedloom.client.training.lora_layers.LoraTerms", no_scaling)
    with pytest.raises(TrainingError, match=rf"parameter .*lora_.*{NOT_SINGLE}"):
        Trainer(plan_in(tiny_model, precision), tiny_model)


def test_control_a_model_without_hooks_is_refused(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fedloom.client.training.trained_model.with_grad_samples", lambda model: model
    )
    with pytest.raises(TrainingError, match=NOT_SINGLE):
        Trainer(make_plan(tiny_model), tiny_model)


def test_a_model_that_pads_and_folds_its_rows_is_refused(tmp_path: Path) -> None:
    """Longformer's layers have rules, yet what its hooks see is not one row a record."""
    folder = tmp_path / "model"
    vocabulary = write_tiny_tokenizer(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    LongformerModel(
        LongformerConfig(
            vocab_size=vocabulary,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
            attention_window=[16, 16],
            pad_token_id=0,
            type_vocab_size=1,
        )
    ).save_pretrained(folder)
    with pytest.raises(TrainingError, match=NOT_SINGLE):
        Trainer(make_plan(folder), folder)


def test_control_a_check_that_is_blind_stops_everything(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a tolerance so wide that nothing is ever refused."""
    monkeypatch.setattr("fedloom.client.training.self_check._TOLERANCE", 1e6)
    with pytest.raises(TrainingError, match="wrong on purpose"):
        Trainer(make_plan(tiny_model), tiny_model)


def test_a_model_is_checked_once_and_again_when_anything_changes(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a check that is skipped for another adapter, precision, code or library."""
    seen: list[str] = []
    honest = trained_model.check_gradients

    def counted(*arguments: object, **more: object) -> None:
        seen.append("checked")
        honest(*arguments, **more)

    monkeypatch.setattr(trained_model, "check_gradients", counted)
    checks = PassedChecks(tmp_path / "checks")

    def checked(plan: Plan, round_number: int = 1) -> bool:
        seen.clear()
        Trainer(plan, tiny_model, round_number, checks=checks)
        return bool(seen)

    plan = make_plan(tiny_model)
    assert [checked(plan), checked(plan)] == [True, False]
    for other in (
        plan.model_copy(update={"lora": plan.lora.model_copy(update={"rank": 2})}),
        plan_in(tiny_model, "bf16"),
        plan.model_copy(update={"model": plan.model.model_copy(update={"sha256": "0" * 64})}),
        make_plan(tiny_model, method="ffa-lora"),
        make_plan(tiny_model, head_rounds=1),
    ):
        assert checked(other)
    monkeypatch.setattr(passed_checks, "version", lambda name: "0.0.0")
    assert checked(plan)
    monkeypatch.setattr(passed_checks, "code_sha256", lambda: "other")
    assert checked(plan)


def test_a_check_that_failed_is_not_remembered(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedloom.client.training.trained_model.with_grad_samples", lambda m: m)
    checks = PassedChecks(tmp_path / "checks")
    for _ in range(2):
        with pytest.raises(TrainingError, match=NOT_SINGLE):
            Trainer(make_plan(tiny_model), tiny_model, checks=checks)
