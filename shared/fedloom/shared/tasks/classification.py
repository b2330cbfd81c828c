"""Sequence classification: one label for each text."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import torch
from torch.nn.functional import cross_entropy

from fedloom.shared.config.sections import Quantization, TaskSection
from fedloom.shared.data.records import Record
from fedloom.shared.errors import ModelError
from fedloom.shared.model.base import BaseModel, Tokenizer
from fedloom.shared.model.loading import Head, load_classifier
from fedloom.shared.tasks.base import PADDED_TO, Answers, Batch, Example, device_of


class Classification:
    """Cross-entropy of the label. The loss is taken per row, never by the model's own `labels=`,
    which averages over the batch and so couples its rows.

    With mean pooling the head scores every token and a text has the mean over its own: a linear
    head on the mean of the last hidden states, in the form of a token classifier, so that
    plain transformers and PEFT can load it.
    """

    def __init__(self, section: TaskSection) -> None:
        self._labels = section.labels
        self._read, self._head = _POOLINGS[section.pooling]

    def load(self, folder: Path, *, seed: int, quantization: Quantization = "none") -> BaseModel:
        """The base model with one output a label; its weights as they are.

        Raises:
            ModelError: other weights are asked for.
        """
        if quantization != "none":
            raise ModelError(f"model {folder}: {quantization} does not suit a classifier's head")
        return load_classifier(folder, head=self._head, labels=self._labels, seed=seed)

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
            # A text of which the tokenizer keeps nothing still has a row.
            Example(tokens=tuple(row) or (0,), label=record.label)
            for row, record in zip(ids, records, strict=True)
        ]

    def collate(self, examples: Sequence[Example], tokenizer: Tokenizer) -> Batch:
        """Pad to the longest example, rounded up to `PADDED_TO` tokens."""
        rows = [{"input_ids": list(example.tokens)} for example in examples]
        inputs = tokenizer.pad(rows, pad_to_multiple_of=PADDED_TO, return_tensors="pt")
        labels = torch.tensor([example.label for example in examples])
        return Batch(inputs=dict(inputs), labels=labels)

    def logits(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """One score a label in fp32, shape (batch, labels)."""
        return self._read(model, batch)

    def losses(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Cross-entropy in fp32, shape (batch,)."""
        return cross_entropy(self.logits(model, batch), batch.labels, reduction="none")

    def answers(
        self, model: torch.nn.Module, examples: Sequence[Example], tokenizer: Tokenizer
    ) -> Answers:
        """By the softmax of the logits."""
        batch = self.collate(examples, tokenizer).to(device_of(model))
        logits = self.logits(model, batch).cpu()
        return Answers.of_classes(logits.softmax(dim=-1), examples)


Read = Callable[[torch.nn.Module, Batch], torch.Tensor]


def _as_it_is(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    logits: torch.Tensor = model(**batch.inputs).logits.float()
    return logits


def _mean_of_tokens(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    real = batch.inputs["attention_mask"].float()
    by_token: torch.Tensor = model(**batch.inputs).logits.float()
    return (by_token * real[..., None]).sum(dim=1) / real.sum(dim=1, keepdim=True)


_POOLINGS: Mapping[str, tuple[Read, Head]] = MappingProxyType(
    {"model": (_as_it_is, "text"), "mean": (_mean_of_tokens, "token")}
)
