"""Every family of base models: gradients are right, and what is saved is what was trained."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from fedloom.client.training.trainer import Trainer
from fedloom.server.evaluator.predict import Predictor
from fedloom.server.initial import save_adapter
from fedloom.shared.data.records import Record
from tests.support.tiny import (
    write_headless_bert,
    write_tiny_distilbert,
    write_tiny_model,
    write_tiny_roberta,
)
from tests.support.training import (
    fixed_stream,
    make_plan,
    naive_clipped_sum,
    records,
    site_plan,
    units_of,
    warmed,
)

FAMILIES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "bert": (write_tiny_model, ("query", "value")),
    "bert-without-pooler": (write_headless_bert, ("query", "value")),
    "roberta": (write_tiny_roberta, ("query", "value")),
    "distilbert": (write_tiny_distilbert, ("q_lin", "v_lin")),
}
# As long as a text gets, in words; the tiny models have 32 positions.
LONG = Record(text="the film was good and " * 200, label=1, unit="long")


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, tuple[str, ...]]:
    write, targets = FAMILIES[request.param]
    return write(tmp_path / "model"), targets


@pytest.mark.parametrize("head_rounds", [0, 1])
def test_a_private_step_equals_a_loop_over_single_records(
    family: tuple[Path, tuple[str, ...]], head_rounds: int
) -> None:
    model, targets = family
    silent = site_plan(noise=1e-9)
    plan = make_plan(model, clip_norm=0.15, targets=targets, head_rounds=head_rounds, site=silent)
    trainer = Trainer(plan, model)
    adapter = warmed(trainer, plan, model)
    rows = records(11)
    names = [spec.name for spec in trainer.trained.tensors]
    expected, norms = naive_clipped_sum(plan, model, adapter, [[row] for row in rows], names)
    found = -trainer.train(plan.sites[0], units_of(trainer, rows), stream=fixed_stream())
    assert max(norms) > 0.15
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_head_round_on_kept_states_gives_what_the_whole_model_gives(
    family: tuple[Path, tuple[str, ...]], tmp_path: Path
) -> None:
    """A pooler below the head leaves one state a record; a head that pools needs one a token."""
    model, targets = family
    plan = make_plan(model, clip_norm=0.15, targets=targets, head_rounds=1, steps=2)
    silent = site_plan(noise=1e-9)
    trainer = Trainer(plan, model)
    adapter = warmed(trainer, plan, model)
    units = units_of(trainer, records(11))
    hidden = trainer.hidden_states(units.examples, tmp_path / "cache", max_bytes=10**9)
    assert hidden is not None
    found = []
    for states in (None, hidden):
        trainer.load(adapter)
        found.append(trainer.train(silent, units, stream=fixed_stream(), hidden=states))
    assert np.linalg.norm(found[0]) > 0.1
    np.testing.assert_allclose(found[1], found[0], atol=2e-5)


def test_texts_longer_than_the_model_are_cut(family: tuple[Path, tuple[str, ...]]) -> None:
    model, targets = family
    plan = make_plan(model, targets=targets)
    plan = plan.model_copy(update={"model": plan.model.model_copy(update={"max_length": 512})})
    trainer = Trainer(plan, model)
    warmed(trainer, plan, model)
    delta = trainer.train(plan.sites[0], units_of(trainer, [LONG]), stream=fixed_stream())
    assert np.isfinite(delta).all()


def test_plain_peft_loads_what_was_trained(
    family: tuple[Path, tuple[str, ...]], tmp_path: Path
) -> None:
    """Catches a head, or any fresh module, that is trained but not saved."""
    model, targets = family
    plan = make_plan(model, targets=targets)
    adapter = warmed(Trainer(plan, model), plan, model)
    save_adapter(plan, model, adapter, target=tmp_path / "adapter")
    base = AutoModelForSequenceClassification.from_pretrained(model, num_labels=2)
    loaded = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    predictor = Predictor(plan, model, batch_size=4)
    examples = predictor.encode(records(5))
    ours = predictor.probabilities(adapter, examples)
    for example, row in zip(examples, ours, strict=True):
        with torch.inference_mode():
            logits = loaded(input_ids=torch.tensor([example.tokens])).logits
        np.testing.assert_allclose(logits.softmax(-1)[0].numpy(), row, atol=1e-5)
