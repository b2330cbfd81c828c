"""Class probabilities of an adapter on held-out records."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fedloom.server.initial import check_model
from fedloom.shared.adapter import Adapter
from fedloom.shared.data.records import Record
from fedloom.shared.model.base import Tokenizer
from fedloom.shared.model.lora import attach_lora, live_parameters, write_adapter
from fedloom.shared.plan import Plan
from fedloom.shared.tasks.base import Example, Task
from fedloom.shared.tasks.registry import TASKS


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """A model in evaluation mode with what it needs to read records; fp32."""

    task: Task
    model: torch.nn.Module
    tokenizer: Tokenizer
    max_length: int
    classes: int
    batch_size: int

    def encode(self, records: Sequence[Record]) -> list[Example]:
        """Token ids."""
        return self.task.encode(records, self.tokenizer, max_length=self.max_length)

    def probabilities(self, examples: Sequence[Example]) -> NDArray[np.float64]:
        """Shape (examples, classes), rows in the order of `examples`."""
        found = np.zeros((len(examples), self.classes))
        # Similar lengths together: less padding, same result.
        order = sorted(range(len(examples)), key=lambda at: len(examples[at].tokens))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            batch = self.task.collate([examples[at] for at in rows], self.tokenizer)
            with torch.inference_mode():
                found[rows] = self.task.probabilities(self.model, batch).double().numpy()
        return found


class Predictor:
    """Holds a plan's base model and scores one adapter after another on it."""

    def __init__(self, plan: Plan, folder: Path, *, batch_size: int) -> None:
        check_model(plan, folder)
        task = TASKS[plan.task.kind]
        base = task.load(folder, plan)
        model = attach_lora(base, plan.lora).eval()
        self._parameters = live_parameters(model)
        self._scorer = Scorer(
            task=task,
            model=model,
            tokenizer=base.tokenizer,
            max_length=plan.model.max_length,
            classes=len(plan.task.labels),
            batch_size=batch_size,
        )

    def encode(self, records: Sequence[Record]) -> list[Example]:
        """Token ids, once for all adapters."""
        return self._scorer.encode(records)

    def probabilities(self, adapter: Adapter, examples: Sequence[Example]) -> NDArray[np.float64]:
        """Shape (examples, classes), rows in the order of `examples`."""
        write_adapter(self._parameters, adapter)
        return self._scorer.probabilities(examples)
