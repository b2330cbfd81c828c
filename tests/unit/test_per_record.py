"""Gradients of single records out of one pass, against autograd on each record alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fedloom.server.evaluator.scorer import Scorer
from fedloom.shared.config.sections import TaskSection
from fedloom.shared.data.records import Record
from fedloom.shared.errors import EvaluationError
from fedloom.shared.model.lora import live_parameters
from fedloom.simulation.auditing.gradients import Sketch, gradients
from fedloom.simulation.auditing.per_record import per_record
from tests.support.language import questions, write_tiny_gpt2, write_tiny_llama, write_tiny_t5
from tests.support.subjects import a_tiny_model
from tests.support.tiny import write_tiny_model, write_tiny_roberta

LABELS = ("good", "bad")
FAMILIES = {
    "a head on the mean of tokens": (write_tiny_model, TaskSection(labels=LABELS, pooling="mean")),
    "a head of two layers": (write_tiny_roberta, TaskSection(labels=LABELS)),
    "llama": (write_tiny_llama, TaskSection(kind="causal-lm")),
    "gpt2": (write_tiny_gpt2, TaskSection(kind="causal-lm")),
    "t5": (write_tiny_t5, TaskSection(kind="seq2seq")),
}


def alone(scorer: Scorer, record: Record) -> dict[str, np.ndarray]:
    live = live_parameters(scorer.model)
    batch = scorer.task.collate(scorer.encode([record]), scorer.tokenizer)
    loss = scorer.task.losses(scorer.model, batch).sum()
    found = torch.autograd.grad(loss, list(live.values()))
    return {name: values.numpy() for name, values in zip(live, found, strict=True)}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_record_has_the_gradient_that_it_has_alone(tmp_path: Path, family: str) -> None:
    """In company of longer and shorter ones, in a model that is not in training mode."""
    write, task = FAMILIES[family]
    scorer = moved(write, tmp_path, task)
    records = questions(7, seed=3, free=not task.labels)
    found = per_record(scorer, live_parameters(scorer.model), scorer.encode(records))
    for at, record in enumerate(records):
        for name, values in alone(scorer, record).items():
            assert np.abs(values).max() > 0, name
            np.testing.assert_allclose(found[name][at], values, rtol=1e-3, atol=1e-6, err_msg=name)
    assert not any(module._forward_hooks for module in scorer.model.modules())


def moved(write: Callable[[Path], object], folder: Path, task: TaskSection) -> Scorer:
    """B of LoRA is not zero, so that A has a gradient as well."""
    write(folder)
    scorer = a_tiny_model(folder, task).scorer
    torch.manual_seed(1)
    with torch.no_grad():
        for values in live_parameters(scorer.model).values():
            values.add_(torch.randn_like(values), alpha=0.1)
    return scorer


def test_rows_come_in_the_order_of_records_and_for_what_is_asked(tmp_path: Path) -> None:
    """More records than one batch, sorted by length within; a head alone is cheaper."""
    scorer = moved(write_tiny_model, tmp_path, TaskSection(labels=LABELS, pooling="mean"))
    records = questions(70, seed=4)
    name = "base_model.model.classifier.weight"
    size = live_parameters(scorer.model)[name].numel()
    found = gradients(scorer, records, [name], Sketch({name: size}))
    assert list(found) == [name]
    for row, record in zip(found[name], records, strict=True):
        own = alone(scorer, record)[name].ravel()
        np.testing.assert_allclose(row, own / np.linalg.norm(own), rtol=1e-3, atol=1e-6)


def test_a_module_without_a_rule_is_named(tmp_path: Path) -> None:
    class Odd(nn.Linear):
        pass

    scorer = moved(write_tiny_model, tmp_path, TaskSection(labels=LABELS, pooling="mean"))
    head = scorer.model.base_model.model.classifier.modules_to_save.default
    head.__class__ = Odd
    with pytest.raises(EvaluationError, match="no rule for gradients by record in Odd"):
        per_record(scorer, live_parameters(scorer.model), scorer.encode(questions(2)))


def test_a_parameter_that_takes_no_part_is_no_zero(tmp_path: Path) -> None:
    """Its zeros would read as a tensor that remembers nobody."""
    scorer = moved(write_tiny_model, tmp_path, TaskSection(labels=LABELS, pooling="mean"))
    live = live_parameters(scorer.model)
    live["elsewhere"] = nn.Linear(2, 2).weight
    with pytest.raises(EvaluationError, match="no gradient by record of elsewhere"):
        per_record(scorer, live, scorer.encode(questions(2)))
