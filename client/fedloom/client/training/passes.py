"""The forward passes that training needs of one model and its task."""

from collections.abc import Sequence

import torch
from torch import nn

from fedloom.client.training.hidden_states import Captured, Hidden
from fedloom.client.training.lora_layers import as_peft, without_dropout
from fedloom.client.training.pieces import MicroBatch
from fedloom.client.training.prefix import FrozenPrefix, find_prefix
from fedloom.shared.model.base import Tokenizer
from fedloom.shared.tasks.base import Batch, Example, Task

# Hidden states are kept in the precision that the layers above them compute in.
_KEPT_IN = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Passes:
    """Losses of examples in one precision, `fp32` or `bf16` (by autocast).

    Guarantee: one loss per example, shape (examples,), times its share in its unit, so that
    many records do not mean more say; row i depends on example i alone, as the task promises.
    """

    def __init__(self, model: nn.Module, task: Task, tokenizer: Tokenizer, precision: str) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        self._task = task
        self._tokenizer = tokenizer
        self.precision = precision

    def losses(self, piece: MicroBatch) -> torch.Tensor:
        """By the model as it trains."""
        return self._shared(piece, self._collated(piece))

    def reference(self, piece: MicroBatch) -> torch.Tensor:
        """The same by PEFT's own code."""
        with as_peft(self._model):
            return self.losses(piece)

    def replayed(self, prefix: FrozenPrefix, hidden: Hidden, piece: MicroBatch) -> torch.Tensor:
        """The same with the layers below the cut replaced by their kept output."""
        batch = self._collated(piece)
        real = batch.inputs["attention_mask"].cpu()
        states = hidden.gather(piece, real).to(self._device).float()
        with prefix.replaying(states):
            return self._shared(piece, batch)

    def captured(self, prefix: FrozenPrefix, piece: MicroBatch) -> Captured:
        """What arrives at the cut."""
        batch = self._collated(piece)
        # Kept once, used at every step: one draw of dropout must not stand for all.
        with without_dropout(self._model):
            hidden = prefix.capture(lambda: self._losses(batch))
        kept = hidden.to(_KEPT_IN[self.precision]).cpu()
        return Captured(hidden=kept, real=batch.inputs["attention_mask"].cpu())

    def right(self, examples: Sequence[Example]) -> list[bool]:
        """Whether the model is right about each example.

        Guarantee: each verdict depends on one example alone, to the last bit: it has a row of
        its own, as another's length would change how it is rounded, and a server can choose an
        adapter at which rounding decides about all. A score that is no number is not right.
        """
        self._model.eval()
        try:
            return [self._right(example) for example in examples]
        finally:
            self._model.train()

    def _right(self, example: Example) -> bool:
        # No inference mode: layers may keep tensors that training then needs gradients of.
        with torch.no_grad(), self._in_precision():
            said = self._task.answers(self._model, [example], self._tokenizer)
        return bool(said.right[0]) and bool(said.loss[0].isfinite())

    def prefix(self, piece: MicroBatch) -> FrozenPrefix | None:
        """Where the model can be cut."""
        batch = self._collated(piece)
        return find_prefix(self._model, lambda: self._losses(batch))

    def _collated(self, piece: MicroBatch) -> Batch:
        return self._task.collate(piece.examples, self._tokenizer).to(self._device)

    def _losses(self, batch: Batch) -> torch.Tensor:
        with self._in_precision():
            return self._task.losses(self._model, batch)

    def _in_precision(self) -> torch.autocast:
        half = self.precision == "bf16"
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=half)

    def _shared(self, piece: MicroBatch, batch: Batch) -> torch.Tensor:
        return self._losses(batch) * torch.tensor(piece.shares, device=self._device)
