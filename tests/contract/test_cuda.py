"""The same steps on a CUDA device. Skipped where there is none, which the documents say."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fedloom.client.training.device import choose_device
from fedloom.client.training.trainer import Trainer
from fedloom.shared.config.sections import TaskSection
from fedloom.shared.errors import TrainingError
from tests.support.language import questions, write_tiny_llama
from tests.support.training import (
    fixed_stream,
    make_plan,
    records,
    site_plan,
    units_of,
    warmed,
)

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_cuda_is_refused_and_auto_takes_the_processor() -> None:
    with pytest.raises(TrainingError, match="no CUDA device"):
        choose_device("cuda")
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")


@needs_cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_encoder_gives_the_processor_s_update(tiny_model: Path, precision: str) -> None:
    plan = make_plan(tiny_model, clip_norm=0.15, site=site_plan(noise=0.5))
    training = plan.training.model_copy(update={"precision": precision})
    plan = plan.model_copy(update={"training": training})
    updates = []
    for device in ("cpu", "cuda"):
        trainer = Trainer(plan, tiny_model, device=device)
        warmed(trainer, plan, tiny_model)
        units = units_of(trainer, records(30))
        updates.append(trainer.train(plan.sites[0], units, stream=fixed_stream()))
    tolerance = 1e-4 if precision == "fp32" else 2e-2
    np.testing.assert_allclose(updates[0], updates[1], atol=tolerance)


@needs_cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_encoder_judges_records_as_the_processor_does(tiny_model: Path, precision: str) -> None:
    plan = make_plan(tiny_model, site=site_plan(noise=0.5))
    training = plan.training.model_copy(update={"precision": precision})
    plan = plan.model_copy(update={"training": training})
    verdicts = []
    for device in ("cpu", "cuda"):
        trainer = Trainer(plan, tiny_model, device=device)
        warmed(trainer, plan, tiny_model)
        verdicts.append(trainer.right(units_of(trainer, records(60)).examples))
    same = sum(one == other for one, other in zip(*verdicts, strict=True))
    assert same >= 55, "but for records that lie on the edge"
    assert 0 < sum(verdicts[0]) < 60


@needs_cuda
def test_a_causal_model_judges_records_as_the_processor_does(tmp_path: Path) -> None:
    model = write_tiny_llama(tmp_path / "model")
    for labels in ((), ("good", "bad")):
        task = TaskSection(kind="causal-lm", labels=labels)
        plan = make_plan(model, targets=("q_proj", "v_proj"), task=task, site=site_plan(noise=0.5))
        verdicts = []
        for device in ("cpu", "cuda"):
            trainer = Trainer(plan, model, device=device)
            warmed(trainer, plan, model)
            rows = questions(40, free=not labels)
            verdicts.append(trainer.right(units_of(trainer, rows).examples))
        same = sum(one == other for one, other in zip(*verdicts, strict=True))
        assert same >= 36, "but for records that lie on the edge"


@needs_cuda
def test_kept_states_of_a_causal_model_give_the_processor_s_update(tmp_path: Path) -> None:
    model = write_tiny_llama(tmp_path / "model", layers=3)
    task = TaskSection(kind="causal-lm")
    plan = make_plan(model, targets=("q_proj", "v_proj"), task=task, site=site_plan(noise=0.5))
    plan = plan.model_copy(update={"lora": plan.lora.model_copy(update={"last_layers": 1})})
    updates = []
    for device in ("cpu", "cuda"):
        trainer = Trainer(plan, model, device=device)
        warmed(trainer, plan, model)
        units = units_of(trainer, questions(20, free=True))
        hidden = trainer.hidden_states(
            units.examples, tmp_path / device, expected=10, max_bytes=10**9
        )
        assert hidden is not None
        updates.append(trainer.train(plan.sites[0], units, stream=fixed_stream(), hidden=hidden))
    np.testing.assert_allclose(updates[0], updates[1], atol=1e-4)
