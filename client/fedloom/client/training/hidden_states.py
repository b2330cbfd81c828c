"""What a frozen prefix gives for each of a site's examples, in one file at the site.

The file is as private as the records: it never leaves the site's own folder, only its owner can
read it, and it is named by everything that it depends on, so that it cannot be mistaken.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch

from fedloom.client.training.pieces import MicroBatch
from fedloom.shared.files import OWNER_ONLY
from fedloom.shared.tasks.base import Example


@dataclass(frozen=True, kw_only=True)
class Captured:
    """What arrived at the cut for one piece: `hidden` of shape (batch, length, width) with
    `real` of shape (batch, length) telling tokens from padding, or (batch, width)."""

    hidden: torch.Tensor
    real: torch.Tensor

    @property
    def by_token(self) -> bool:
        """Whether there is a state for each token, not one for the whole example."""
        return self.hidden.dim() == 3

    def bytes_of(self, tokens: int) -> int:
        """What keeping an example of so many tokens takes."""
        rows = tokens if self.by_token else 1
        return rows * int(self.hidden.shape[-1]) * self.hidden.element_size()


Capture = Callable[[MicroBatch], Captured]


class Hidden(Protocol):
    """Where the states of examples come from."""

    def gather(self, piece: MicroBatch, real: torch.Tensor) -> torch.Tensor:
        """The states of a piece's examples in the shape that they were captured in."""

    def shortened(self, examples: Sequence[Example]) -> tuple[Example, ...]:
        """What is still needed of the examples themselves: where one state stands for a whole
        example, one token does as well."""


class Given:
    """States that are at hand, for the one piece that they were captured from."""

    def __init__(self, captured: Captured) -> None:
        self._captured = captured

    def gather(self, piece: MicroBatch, real: torch.Tensor) -> torch.Tensor:
        """As they were captured."""
        return self._captured.hidden

    def shortened(self, examples: Sequence[Example]) -> tuple[Example, ...]:
        """One token each, if that is enough."""
        return _shortened(examples, by_token=self._captured.by_token)


class HiddenStates:
    """Hidden states by example, memory-mapped: padding is not kept and comes back as zeros.

    Guarantee: row i holds what example i gave, alone or in whatever company it was computed,
    but for the rounding of `dtype`.
    """

    def __init__(self, path: Path, examples: Sequence[Example], like: Captured) -> None:
        self._by_token = like.by_token
        self._dtype = like.hidden.dtype
        rows = [len(example.tokens) if self._by_token else 1 for example in examples]
        self._ends = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])
        self._width = int(like.hidden.shape[-1])
        self.path = path
        self._values: torch.Tensor | None = None

    @property
    def bytes(self) -> int:
        """How large the file is."""
        return int(self._ends[-1]) * self._width * self._dtype.itemsize

    def open(self) -> bool:
        """Open the file, if it is there whole."""
        if not self.path.is_file() or self.path.stat().st_size != self.bytes:
            return False
        self._values = self._mapped(self.path, "c")
        return True

    def fill(self, pieces: Iterable[MicroBatch], capture: Capture) -> None:
        """Compute and keep every example's states; the file appears when it is whole."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
        try:
            os.ftruncate(descriptor, self.bytes)
            values = self._mapped(part, "r+")
            for piece in pieces:
                self._put(values, piece, capture(piece))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.rename(self.path)

    def gather(self, piece: MicroBatch, real: torch.Tensor) -> torch.Tensor:
        """The states of a piece's examples in the shape that they were captured in."""
        if self._values is None:
            raise RuntimeError("hidden states: not open")
        rows = [self._values[self._ends[at] : self._ends[at + 1]] for at in piece.indices]
        together = torch.cat(rows)
        if not self._by_token:
            return together
        hidden = torch.zeros((*real.shape, self._width), dtype=self._dtype)
        hidden[real.bool()] = together
        return hidden

    def shortened(self, examples: Sequence[Example]) -> tuple[Example, ...]:
        """One token each, if that is enough."""
        return _shortened(examples, by_token=self._by_token)

    def _put(self, values: torch.Tensor, piece: MicroBatch, captured: Captured) -> None:
        for row, at in enumerate(piece.indices):
            hidden = captured.hidden[row]
            own = hidden[captured.real[row].bool()] if self._by_token else hidden[None]
            values[self._ends[at] : self._ends[at + 1]] = own

    def _mapped(self, path: Path, mode: Literal["r+", "c"]) -> torch.Tensor:
        # numpy knows no bf16; the bits pass through as integers of that size.
        plain = np.int16 if self._dtype == torch.bfloat16 else np.float32
        shape = (int(self._ends[-1]), self._width)
        values = np.memmap(path, dtype=plain, mode=mode, shape=shape)
        return torch.from_numpy(values).view(self._dtype)


def _shortened(examples: Sequence[Example], *, by_token: bool) -> tuple[Example, ...]:
    if by_token:
        return tuple(examples)
    return tuple(replace(example, tokens=example.tokens[:1]) for example in examples)
