"""Learning to answer: supervised fine-tuning on prompts and answers, the loss on answers alone."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch.nn.functional import cross_entropy

from fedloom.shared.config.sections import Quantization, TaskSection
from fedloom.shared.data.records import Record
from fedloom.shared.model.base import BaseModel, Tokenizer
from fedloom.shared.tasks.base import Answers, Batch, Example, device_of
from fedloom.shared.tasks.rendering import Rendered

# What cross_entropy takes for "no label here".
NO_TOKEN = -100


class Form(Protocol):
    """How prompt and answer reach one kind of language model."""

    def load(self, folder: Path, quantization: Quantization) -> BaseModel:
        """The base model."""

    def rendered(self, records: Sequence[Record], tokenizer: Tokenizer) -> list[Rendered]:
        """Token ids of prompts and answers."""

    def example(self, rendered: Rendered, *, label: int, limit: int) -> Example:
        """Cut to `limit` tokens: the answer's end first gives way, then the prompt's beginning."""

    def with_answer(self, example: Example, answer: tuple[int, ...], limit: int) -> Example:
        """The same prompt with another answer."""

    def collate(self, examples: Sequence[Example], tokenizer: Tokenizer) -> Batch:
        """Padded, `labels` holding each answer and `NO_TOKEN` elsewhere."""

    def logits(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Shape (batch, answer length, vocabulary): position j predicts `labels[:, j]`."""


class Generation:
    """One loss per record, the mean over its answer's tokens, so that a record counts once
    however long its answer is. Never the model's own `labels=`, which couples rows.

    With a label set, an answer's probability is its likelihood after the prompt, over those of
    all labels, as far as labels differ.
    """

    def __init__(self, section: TaskSection, form: Form) -> None:
        self.labels = section.labels
        self._form = form

    def load(self, folder: Path, *, seed: int, quantization: Quantization = "none") -> BaseModel:
        """The base model as it is; nothing of it starts at random."""
        return self._form.load(folder, quantization)

    def encode(
        self, records: Sequence[Record], tokenizer: Tokenizer, *, max_length: int
    ) -> list[Example]:
        """Token ids of prompts and answers."""
        limit = min(max_length, tokenizer.model_max_length)
        both = zip(self._form.rendered(records, tokenizer), records, strict=True)
        return [self._form.example(row, label=record.label, limit=limit) for row, record in both]

    def collate(self, examples: Sequence[Example], tokenizer: Tokenizer) -> Batch:
        """Pad to the longest of these examples, and to the longest answer."""
        return self._form.collate(examples, tokenizer)

    def losses(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Mean cross-entropy of each record's answer in fp32, shape (batch,)."""
        logits = self._form.logits(model, batch).float()
        each = _by_token(logits, batch.labels)
        return each.sum(dim=1) / _answered(batch.labels).sum(dim=1).clamp_min(1)

    def answers(
        self, model: torch.nn.Module, examples: Sequence[Example], tokenizer: Tokenizer
    ) -> Answers:
        """By likelihood of the labels, or of the one answer that is right."""
        if self.labels:
            logs = self.label_likelihoods(model, examples, tokenizer)
            return Answers.of_classes(logs.softmax(dim=1), examples)
        batch = self.collate(examples, tokenizer)
        logits = self._said(model, batch)
        there = _answered(batch.labels)
        greedy = (logits.argmax(dim=-1) == batch.labels) | ~there
        losses = _by_token(logits, batch.labels).sum(dim=1) / there.sum(dim=1).clamp_min(1)
        return Answers(loss=losses, right=greedy.all(dim=1))

    def label_likelihoods(
        self, model: torch.nn.Module, examples: Sequence[Example], tokenizer: Tokenizer
    ) -> torch.Tensor:
        """Log-likelihood in nats of each label as the answer, shape (batch, labels), up to the
        end that all answers have in common. Labels that differ in one token alone share one
        pass."""
        choices = self._choices(tokenizer)
        found = torch.zeros(len(examples), len(choices))
        for numbers in _by_context(choices):
            logs = self._log_likelihoods(model, examples, choices[numbers[0]], tokenizer)
            for number in numbers:
                ids = torch.tensor(choices[number])
                found[:, number] = logs[:, torch.arange(len(ids)), ids].sum(dim=1)
        return found

    def _log_likelihoods(
        self,
        model: torch.nn.Module,
        examples: Sequence[Example],
        answer: tuple[int, ...],
        tokenizer: Tokenizer,
    ) -> torch.Tensor:
        """Of every next token along `answer`, shape (batch, its length, vocabulary)."""
        limit = tokenizer.model_max_length
        rows = [self._form.with_answer(example, answer, limit) for example in examples]
        batch = self.collate(rows, tokenizer)
        logits = self._said(model, batch)
        return logits[:, _answered(batch.labels)[0]].log_softmax(dim=-1)

    def _said(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Logits in fp32, here, wherever the model is."""
        return self._form.logits(model, batch.to(device_of(model))).float().cpu()

    def _choices(self, tokenizer: Tokenizer) -> list[tuple[int, ...]]:
        """Each label's tokens, without the end that all have in common."""
        records = [
            Record(text="?", answer=label, label=number, unit="")
            for number, label in enumerate(self.labels)
        ]
        answers = [row.answer for row in self._form.rendered(records, tokenizer)]
        common, shortest = 0, min(map(len, answers))
        while common + 1 < shortest and len({answer[-1 - common :] for answer in answers}) == 1:
            common += 1
        return [answer[: len(answer) - common] for answer in answers]


def _by_token(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits.transpose(1, 2), labels, ignore_index=NO_TOKEN, reduction="none")


def _answered(labels: torch.Tensor) -> torch.Tensor:
    return labels != NO_TOKEN


def _by_context(choices: Sequence[tuple[int, ...]]) -> Iterable[list[int]]:
    """Label numbers, together where the same stands before their last token."""
    found: dict[tuple[int, ...], list[int]] = {}
    for number, choice in enumerate(choices):
        found.setdefault(choice[:-1], []).append(number)
    return found.values()
