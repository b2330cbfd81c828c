"""Rounding frozen weights once changes no bit of what bf16 training gives, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from fedloom.client.training import trained_model
from fedloom.client.training.trainer import Trainer
from fedloom.shared.config.sections import TaskSection
from tests.support.language import questions, write_tiny_gpt2, write_tiny_llama
from tests.support.training import fixed_stream, make_plan, units_of, warmed


@pytest.mark.parametrize("method", ["fedit", "ffa-lora"])
@pytest.mark.parametrize(
    ("write", "targets"), [(write_tiny_llama, ("q_proj", "v_proj")), (write_tiny_gpt2, ("c_attn",))]
)
def test_the_update_is_the_same_bit_by_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write, targets: tuple[str, ...], method: str
) -> None:
    """Catches a weight rounded that trains, travels, or is computed in fp32."""
    model = write(tmp_path / "model")
    plan = make_plan(model, targets=targets, method=method, task=TaskSection(kind="causal-lm"))
    training = plan.training.model_copy(update={"precision": "bf16"})
    plan = plan.model_copy(update={"training": training})

    def update() -> np.ndarray:
        trainer = Trainer(plan, model)
        adapter = warmed(trainer, plan, model)
        delta = trainer.train(
            plan.sites[0], units_of(trainer, questions(20, free=True)), stream=fixed_stream()
        )
        trainer.load(adapter)
        assert trainer.start.sha256 == adapter.sha256
        return delta

    lowered = update()
    monkeypatch.setattr(trained_model, "lower_frozen", lambda *_, **__: None)
    np.testing.assert_array_equal(lowered, update())
