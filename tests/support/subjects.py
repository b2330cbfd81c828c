"""Subjects without a real model, whose answers are a function of the text, and tiny real ones."""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from fedloom.server.evaluator.likelihood import Likelihoods
from fedloom.server.evaluator.metrics import Outcomes
from fedloom.server.evaluator.scorer import Scorer
from fedloom.server.evaluator.subject import Candidate, Subject
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.sections import LoraSection, TaskSection
from fedloom.shared.data.records import Record
from fedloom.shared.model.lora import attach_lora
from fedloom.shared.tasks.registry import make_task

SENTIMENT = ("negative", "positive")
TASK = """
task: mine
dataset_path: json
dataset_kwargs:
  data_files:
    test: test.jsonl
  {given}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: {labels}
doc_to_target: gold
num_fewshot: {shots}
fewshot_delimiter: "\n"
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
{more}
"""


@dataclass(frozen=True, kw_only=True)
class FakeScorer:
    """`says` gives a text's class probabilities."""

    says: Callable[[str], Sequence[float]]
    batch_size: int = 64
    max_length: int = 128

    def encode(self, records: Sequence[Record]) -> Sequence[Record]:
        return records

    def outcomes(self, records: Sequence[Record]) -> Outcomes:
        found = np.array([self.says(record.text) for record in records], dtype=np.float64)
        return Outcomes.of(found, np.array([record.label for record in records]))


@dataclass(frozen=True, kw_only=True)
class FakeCausal(Subject):
    """`rates` gives a continuation's log-likelihood after a prompt, `answers` greedy decoding."""

    rates: Callable[[str, str], float]
    answers: Callable[[str], str]

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> Likelihoods:
        return Likelihoods(
            total=np.array([self.rates(*pair) for pair in pairs], dtype=np.float64),
            tokens=np.array([len(text.split()) for _, text in pairs]),
            letters=np.array([len(text) for _, text in pairs]),
            cut=np.zeros(len(pairs), dtype=bool),
        )

    def label_likelihoods(self, records: Sequence[Record]) -> np.ndarray:
        asked = ["\n".join(turn.content for turn in record.turns) for record in records]
        return np.array([[self.rates(one, f" {name}") for name in self.labels] for one in asked])

    def answer_tokens(self, records: Sequence[Record]) -> np.ndarray:
        return np.array([len(record.answer.split()) for record in records])

    def at_limit(self, records: Sequence[Record]) -> np.ndarray:
        return np.zeros(len(records), dtype=bool)

    def _outcomes(self, records: Sequence[Record]) -> Outcomes:
        labels = np.array([record.label for record in records])
        if self.labels:
            odds = np.exp(self.label_likelihoods(records))
            return Outcomes.of(odds / odds.sum(axis=1, keepdims=True), labels)
        loss = [-self.rates(one.text, one.answer) / len(one.answer.split()) for one in records]
        right = [self.answers(one.text) == one.answer for one in records]
        return Outcomes(loss=np.array(loss), right=np.array(right))

    def say(self, prompts: Sequence[str], *, tokens: int) -> list[str]:
        return [" ".join(self.answers(prompt).split()[:tokens]) for prompt in prompts]


def a_candidate(name: str = "ours") -> Candidate:
    empty = Adapter.from_state({})
    return Candidate(name=name, kind="federation", description="a test's", adapter=empty)


def a_classifier(
    says: Callable[[str], Sequence[float]], *, labels: tuple[str, ...] = SENTIMENT
) -> Subject:
    """A classifier that says to each text what the function does."""
    return Subject(
        candidate=a_candidate(), task=TaskSection(labels=labels), scorer=FakeScorer(says=says)
    )


def a_speaker(
    rates: Callable[[str, str], float],
    answers: Callable[[str], str] = lambda prompt: "",
    *,
    labels: tuple[str, ...] = (),
) -> Subject:
    """A causal language model of these two functions."""
    return FakeCausal(
        candidate=a_candidate(),
        task=TaskSection(kind="causal-lm", labels=labels),
        scorer=FakeScorer(says=lambda text: ()),
        rates=rates,
        answers=answers,
    )


def a_tiny_model(folder: Path, task: TaskSection, *, max_length: int = 64) -> Subject:
    """A real model from a folder, with an adapter that changes nothing yet."""
    made = make_task(task)
    base = made.load(folder, seed=0)
    model = attach_lora(base, LoraSection()).eval()
    scorer = Scorer(
        task=made, model=model, tokenizer=base.tokenizer, max_length=max_length, batch_size=8
    )
    return Subject(candidate=a_candidate(), task=task, scorer=scorer)


def a_sentiment(says: Callable[[str], Sequence[float]] | None = None) -> Subject:
    """A classifier that looks for one good word, if it is not told what to say."""
    return a_classifier(says or (lambda text: (0.2, 0.8) if "good" in text else (0.7, 0.3)))


def broken(subject: Subject) -> Subject:
    """The same subject with answers that are not finite."""
    if isinstance(subject.scorer, FakeScorer):
        return replace(subject, scorer=FakeScorer(says=lambda text: (np.nan,) * 2), memory={})
    model = copy.deepcopy(subject.scorer.model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    return replace(subject, scorer=replace(subject.scorer, model=model), memory={})


def write_task(
    folder: Path,
    records: Sequence[Record],
    labels: tuple[str, ...],
    *,
    shots: int = 0,
    more: str = "",
) -> Path:
    """Records as a task of lm-eval; with `shots`, the first records are examples."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, part in (("shots", records[:shots]), ("test", records[shots:])):
        rows = [json.dumps({"question": one.text, "gold": one.label}) for one in part]
        (folder / f"{split}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    given = "  shots: shots.jsonl" if shots else ""
    text = TASK.format(labels=json.dumps(labels), shots=shots, given=given, more=more)
    (folder / "task.yaml").write_text(text, encoding="utf-8")
    return folder / "task.yaml"
