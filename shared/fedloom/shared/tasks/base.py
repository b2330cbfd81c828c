"""The protocol of a task, and the registry that a plan's `task.kind` is looked up in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from fedloom.shared.data.records import Record
from fedloom.shared.model.base import BaseModel, Tokenizer
from fedloom.shared.plan import Plan

# Rows are padded to a multiple of this many tokens.
PADDED_TO = 8


@dataclass(frozen=True, kw_only=True)
class Example:
    """One encoded record: token ids, already cut to the model's length, and the class number."""

    tokens: tuple[int, ...]
    label: int


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Padded examples: `inputs` of shape (batch, length), `labels` of shape (batch,)."""

    inputs: Mapping[str, torch.Tensor]
    labels: torch.Tensor


class Task(Protocol):
    """What training and evaluation need to know of a task."""

    def load(self, folder: Path, plan: Plan) -> BaseModel:
        """The base model with the head that this task needs."""

    def encode(
        self, records: Sequence[Record], tokenizer: Tokenizer, *, max_length: int
    ) -> list[Example]:
        """Token ids of every record, cut to `max_length`."""

    def collate(self, examples: Sequence[Example], tokenizer: Tokenizer) -> Batch:
        """Pad to the longest of these examples."""

    def losses(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """One loss per example, shape (batch,): row i depends on example i alone."""

    def probabilities(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Class probabilities, shape (batch, classes)."""
