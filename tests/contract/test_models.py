"""Every family of base models: gradients are right, and what is saved is what was trained."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)

from fedloom.client.training.trainer import Trainer
from fedloom.server.evaluator.bench import plan_bench
from fedloom.server.initial import save_adapter
from fedloom.shared.config.sections import TaskSection
from fedloom.shared.data.records import Record
from fedloom.shared.plan import Plan
from tests.support.tiny import (
    write_headless_bert,
    write_tiny_distilbert,
    write_tiny_model,
    write_tiny_roberta,
)
from tests.support.training import (
    LABELS,
    fixed_stream,
    make_plan,
    naive_clipped_sum,
    records,
    site_plan,
    units_of,
    warmed,
)


@dataclass(frozen=True, kw_only=True)
class Family:
    write: Callable[[Path], Path]
    targets: tuple[str, ...] = ("query", "value")
    pooling: str = "model"

    def plan(self, model: Path, **more: object) -> Plan:
        task = TaskSection(labels=LABELS, pooling=self.pooling)
        return make_plan(model, targets=self.targets, task=task, **more)

    def load(self, model: Path) -> PreTrainedModel:
        by_token = self.pooling == "mean"
        auto = AutoModelForTokenClassification if by_token else AutoModelForSequenceClassification
        return auto.from_pretrained(model, num_labels=2)

    def read(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.mean(dim=1) if self.pooling == "mean" else logits


FAMILIES = {
    "bert": Family(write=write_tiny_model),
    "bert-by-mean": Family(write=write_tiny_model, pooling="mean"),
    "bert-without-pooler": Family(write=write_headless_bert),
    "roberta": Family(write=write_tiny_roberta),
    "distilbert": Family(write=write_tiny_distilbert, targets=("q_lin", "v_lin")),
    "distilbert-by-mean": Family(
        write=write_tiny_distilbert, targets=("q_lin", "v_lin"), pooling="mean"
    ),
}
# As long as a text gets, in words; the tiny models have 32 positions.
LONG = Record(text="the film was good and " * 200, label=1, unit="long")


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.fixture
def model(family: Family, tmp_path: Path) -> Path:
    return family.write(tmp_path / "model")


@pytest.mark.parametrize("head_rounds", [0, 1])
def test_a_private_step_equals_a_loop_over_single_records(
    family: Family, model: Path, head_rounds: int
) -> None:
    silent = site_plan(noise=1e-9)
    plan = family.plan(model, clip_norm=0.15, head_rounds=head_rounds, site=silent)
    trainer = Trainer(plan, model)
    adapter = warmed(trainer, plan, model)
    rows = records(11)
    names = [spec.name for spec in trainer.trained.tensors]
    expected, norms = naive_clipped_sum(plan, model, adapter, [[row] for row in rows], names)
    found = -trainer.train(plan.sites[0], units_of(trainer, rows), stream=fixed_stream())
    assert max(norms) > 0.15
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_head_round_on_kept_states_gives_what_the_whole_model_gives(
    family: Family, model: Path, tmp_path: Path
) -> None:
    """A pooler below the head leaves one state a record; a head that pools needs one a token."""
    plan = family.plan(model, clip_norm=0.15, head_rounds=1, steps=2)
    silent = site_plan(noise=1e-9)
    trainer = Trainer(plan, model)
    adapter = warmed(trainer, plan, model)
    units = units_of(trainer, records(11))
    hidden = trainer.hidden_states(units.examples, tmp_path / "cache", expected=10, max_bytes=10**9)
    assert hidden is not None
    found = []
    for states in (None, hidden):
        trainer.load(adapter)
        found.append(trainer.train(silent, units, stream=fixed_stream(), hidden=states))
    assert np.linalg.norm(found[0]) > 0.1
    np.testing.assert_allclose(found[1], found[0], atol=2e-5)


def test_texts_longer_than_the_model_are_cut(family: Family, model: Path) -> None:
    plan = family.plan(model)
    plan = plan.model_copy(update={"model": plan.model.model_copy(update={"max_length": 512})})
    trainer = Trainer(plan, model)
    warmed(trainer, plan, model)
    delta = trainer.train(plan.sites[0], units_of(trainer, [LONG]), stream=fixed_stream())
    assert np.isfinite(delta).all()


def test_plain_peft_loads_what_was_trained(family: Family, model: Path, tmp_path: Path) -> None:
    """Catches a head, or any fresh module, that is trained but not saved."""
    plan = family.plan(model)
    adapter = warmed(Trainer(plan, model), plan, model)
    save_adapter(plan, model, adapter, target=tmp_path / "adapter")
    loaded = PeftModel.from_pretrained(family.load(model), str(tmp_path / "adapter")).eval()
    predictor = plan_bench(plan, model, batch_size=4)
    examples = predictor.encode(records(5))
    ours = predictor.outcomes(adapter, examples).probabilities
    for example, row in zip(examples, ours, strict=True):
        with torch.inference_mode():
            logits = family.read(loaded(input_ids=torch.tensor([example.tokens])).logits)
        np.testing.assert_allclose(logits.softmax(-1)[0].numpy(), row, atol=1e-5)
