"""The protocol of a task: how records become tensors, and what one record's loss is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from fedloom.shared.config.sections import Quantization
from fedloom.shared.data.records import Record
from fedloom.shared.model.base import BaseModel, Tokenizer

# Rows are padded to a multiple of this many tokens.
PADDED_TO = 8


def padded(tokens: int) -> int:
    """The length that a row of `tokens` tokens is padded to."""
    return -(-tokens // PADDED_TO) * PADDED_TO


@dataclass(frozen=True, kw_only=True)
class Example:
    """One encoded record: token ids, already cut to the model's length, and the class number.

    `answer` are the token ids to be learned, where a task learns to answer; a decoder alone
    reads them at the end of `tokens`. Without a label set, `label` is -1.
    """

    tokens: tuple[int, ...]
    label: int
    answer: tuple[int, ...] = ()

    @property
    def bucket(self) -> tuple[int, int]:
        """The lengths that its row is padded to: of what is read, and of the answer."""
        return padded(len(self.tokens)), padded(len(self.answer))


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Padded examples: `inputs` of shape (batch, length); `labels` are class numbers, shape
    (batch,), or answers, shape (batch, answer length), with -100 where there is none."""

    inputs: Mapping[str, torch.Tensor]
    labels: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on `device`."""
        inputs = {name: values.to(device) for name, values in self.inputs.items()}
        return Batch(inputs=inputs, labels=self.labels.to(device))


def device_of(model: torch.nn.Module) -> torch.device:
    """Where a model's weights lie."""
    return next(model.parameters()).device


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a model says to examples: `loss` in nats and whether it is right, shape (batch,).

    `probabilities`, shape (batch, classes), is None for answers without a label set, which are
    right if greedy decoding gives just them.
    """

    loss: torch.Tensor
    right: torch.Tensor
    probabilities: torch.Tensor | None = None

    @classmethod
    def of_classes(cls, probabilities: torch.Tensor, examples: Sequence[Example]) -> "Answers":
        """Where one class is right for each example."""
        labels = torch.tensor([example.label for example in examples])
        own = probabilities.gather(1, labels[:, None])[:, 0]
        return cls(
            loss=-own.clamp_min(1e-12).log(),
            right=probabilities.argmax(dim=1) == labels,
            probabilities=probabilities,
        )


class Task(Protocol):
    """What training and evaluation need to know of a task."""

    def load(self, folder: Path, *, seed: int, quantization: Quantization = "none") -> BaseModel:
        """The base model with the head that this task needs, from `seed` where it is fresh."""

    def encode(
        self, records: Sequence[Record], tokenizer: Tokenizer, *, max_length: int
    ) -> list[Example]:
        """Token ids of every record, cut to `max_length`."""

    def collate(self, examples: Sequence[Example], tokenizer: Tokenizer) -> Batch:
        """Pad to the longest of these examples."""

    def losses(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """One loss per example, shape (batch,): row i depends on example i alone."""

    def answers(
        self, model: torch.nn.Module, examples: Sequence[Example], tokenizer: Tokenizer
    ) -> Answers:
        """What the model says, in fp32."""
