"""A base model in four bits: held so, refused where it does not fit, and named in what it decides.

Gradients, likelihoods and the saved adapter: tests/contract/test_language_models.py.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from fedloom.client.training.frozen_weights import frozen_weight
from fedloom.client.training.passed_checks import PassedChecks
from fedloom.client.training.trainer import Trainer
from fedloom.shared.config.sections import TaskSection
from fedloom.shared.errors import ModelError, TrainingError
from fedloom.shared.model import quantization
from fedloom.shared.plan import Plan
from fedloom.shared.tasks.registry import load_base
from tests.support.language import questions, write_tiny_llama
from tests.support.training import fixed_stream, make_plan, units_of, warmed


def make(home: Path, held: str = "nf4", precision: str = "fp32") -> tuple[Plan, Path]:
    model = write_tiny_llama(home / "model", layers=3, width=64)
    plan = make_plan(model, targets=("q_proj", "v_proj"), task=TaskSection(kind="causal-lm"))
    plan = plan.model_copy(
        update={
            "model": plan.model.model_copy(update={"quantization": held}),
            "lora": plan.lora.model_copy(update={"last_layers": 1}),
            "training": plan.training.model_copy(update={"precision": precision}),
        }
    )
    return plan, model


def update(plan: Plan, model: Path) -> np.ndarray:
    trainer = Trainer(plan, model)
    warmed(trainer, plan, model)
    rows = units_of(trainer, questions(20, free=True))
    return trainer.train(plan.sites[0], rows, stream=fixed_stream())


def test_frozen_layers_stay_packed_through_training(tmp_path: Path) -> None:
    """Catches weights spelt out for good, or rounded as if their bytes were numbers."""
    plan, model = make(tmp_path, precision="bf16")
    packed = [
        values.clone()
        for values in load_base(plan, model).model.parameters()
        if values.dtype == torch.uint8
    ]
    trainer = Trainer(plan, model)
    trainer.train(plan.sites[0], units_of(trainer, questions(9, free=True)), stream=fixed_stream())
    after = [values for values in trainer._model._model.parameters() if values.dtype == torch.uint8]
    assert len(packed) == 3 * 7
    assert all(torch.equal(one, other) for one, other in zip(packed, after, strict=True))


def test_four_bits_change_what_is_trained(tmp_path: Path) -> None:
    """Catches a setting that nobody reads."""
    full = update(*make(tmp_path / "full", "none"))
    four = update(*make(tmp_path / "four"))
    assert 1e-3 < np.linalg.norm(four - full) / np.linalg.norm(full) < 0.7


def test_bf16_agrees_with_fp32_but_for_rounding(tmp_path: Path) -> None:
    exact = update(*make(tmp_path / "exact"))
    low = update(*make(tmp_path / "low", precision="bf16"))
    assert np.linalg.norm(low - exact) <= 0.05 * np.linalg.norm(exact)


def test_a_classifier_in_four_bits_is_refused(tmp_path: Path) -> None:
    plan, model = make(tmp_path)
    tree = plan.model_dump()
    tree["task"] = {"kind": "classification", "labels": ["bad", "good"]}
    with pytest.raises(ValidationError, match='"nf4" contradicts task'):
        Plan.model_validate(tree)
    with pytest.raises(ModelError, match="nf4 does not suit a classifier's head"):
        load_base(plan.model_copy(update={"task": TaskSection(labels=("a", "b"))}), model)


def test_without_the_extra_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, model = make(tmp_path)
    monkeypatch.setattr(quantization, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match=r"not installed; expected pip install 'fedloom\[four-bit"):
        load_base(plan, model)


def test_what_is_kept_for_one_holding_is_not_used_for_another(tmp_path: Path) -> None:
    """Hidden states, and the memory of a passed self-check."""
    names, held = set(), []
    checks = PassedChecks(tmp_path / "checks")
    for wanted in ("none", "nf4"):
        plan, model = make(tmp_path / wanted, wanted)
        trainer = Trainer(plan, model, checks=checks)
        names.add(trainer.prefix_name)
        held.append(len(list((tmp_path / "checks").iterdir())))
    assert len(names) == 2 and None not in names
    assert held == [1, 2]


def test_a_folder_that_is_quantised_already_is_refused(tmp_path: Path) -> None:
    """The plan would say "none", and the adapter's card too."""
    plan, model = make(tmp_path, "none")
    config = json.loads((model / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="quantised already, expected plain ones"):
        load_base(plan, model)


def test_weights_packed_for_inference_are_not_trained_on(tmp_path: Path) -> None:
    layer = load_base(*make(tmp_path)).model.model.layers[0].self_attn.q_proj
    assert frozen_weight(layer, torch.float32)().shape == (64, 64)
    layer.weight.quant_state.packing_format_for_cpu = True
    with pytest.raises(TrainingError, match="packed for inference"):
        frozen_weight(layer, torch.float32)
