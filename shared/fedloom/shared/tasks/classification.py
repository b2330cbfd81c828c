"""Sequence classification: one label for each text."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from fedloom.shared.config.sections import TaskSection
from fedloom.shared.data.records import Record
from fedloom.shared.model.base import BaseModel, Tokenizer
from fedloom.shared.model.loading import load_classifier
from fedloom.shared.tasks.base import PADDED_TO, Answers, Batch, Example


class Classification:
    """Cross-entropy of the label. The loss is taken per row, never by the model's own `labels=`,
    which averages over the batch and so couples its rows."""

    def __init__(self, section: TaskSection) -> None:
        self._labels = section.labels

    def load(self, folder: Path, *, seed: int) -> BaseModel:
        """The base model with one output a label."""
        return load_classifier(folder, labels=self._labels, seed=seed)

    def encode(
        self, records: Sequence[Record], tokenizer: Tokenizer, *, max_length: int
    ) -> list[Example]:
        """Token ids, cut to `max_length` or to the tokenizer's own limit."""
        # Padding is rounded up, and must still fit the model's positions.
        positions = tokenizer.model_max_length // PADDED_TO * PADDED_TO
        limit = min(max_length, positions)
        texts = [record.text for record in records]
        if not texts:
            return []
        ids = tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
        return [
            Example(tokens=tuple(row), label=record.label)
            for row, record in zip(ids, records, strict=True)
        ]

    def collate(self, examples: Sequence[Example], tokenizer: Tokenizer) -> Batch:
        """Pad to the longest example, rounded up to `PADDED_TO` tokens."""
        rows = [{"input_ids": list(example.tokens)} for example in examples]
        inputs = tokenizer.pad(rows, pad_to_multiple_of=PADDED_TO, return_tensors="pt")
        labels = torch.tensor([example.label for example in examples])
        return Batch(inputs=dict(inputs), labels=labels)

    def losses(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Cross-entropy in fp32, shape (batch,)."""
        logits = model(**batch.inputs).logits.float()
        return cross_entropy(logits, batch.labels, reduction="none")

    def answers(
        self, model: torch.nn.Module, examples: Sequence[Example], tokenizer: Tokenizer
    ) -> Answers:
        """By the softmax of the logits."""
        logits: torch.Tensor = model(**self.collate(examples, tokenizer).inputs).logits.float()
        return Answers.of_classes(logits.softmax(dim=-1), examples)
