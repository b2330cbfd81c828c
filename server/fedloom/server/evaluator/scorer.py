"""What a model says to records: sorted by length, in inference mode."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fedloom.server.evaluator.metrics import Outcomes
from fedloom.shared.data.records import Record
from fedloom.shared.model.base import Tokenizer
from fedloom.shared.tasks.base import Example, Task


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """A model in evaluation mode with what it needs to read records; fp32."""

    task: Task
    model: torch.nn.Module
    tokenizer: Tokenizer
    max_length: int
    batch_size: int

    def encode(self, records: Sequence[Record]) -> list[Example]:
        """Token ids."""
        return self.task.encode(records, self.tokenizer, max_length=self.max_length)

    def outcomes(self, examples: Sequence[Example]) -> Outcomes:
        """What the model says, rows in the order of `examples`."""
        # Similar lengths together: less padding, same result.
        order = sorted(range(len(examples)), key=lambda at: examples[at].bucket)
        parts = []
        for start in range(0, len(order), self.batch_size):
            rows = [examples[at] for at in order[start : start + self.batch_size]]
            with torch.inference_mode():
                parts.append(self.task.answers(self.model, rows, self.tokenizer))
        back = np.argsort(order)
        probabilities = [part.probabilities for part in parts if part.probabilities is not None]
        return Outcomes(
            loss=torch.cat([part.loss for part in parts]).double().numpy()[back],
            right=torch.cat([part.right for part in parts]).numpy()[back],
            probabilities=torch.cat(probabilities).double().numpy()[back]
            if probabilities
            else None,
        )
