"""What an adapter says to held-out records."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fedloom.server.evaluator.metrics import Outcomes
from fedloom.server.initial import check_model
from fedloom.shared.adapter import Adapter
from fedloom.shared.data.records import Record
from fedloom.shared.model.base import Tokenizer
from fedloom.shared.model.lora import attach_lora, live_parameters, write_adapter
from fedloom.shared.plan import Plan
from fedloom.shared.tasks.base import Example, Task
from fedloom.shared.tasks.registry import load_base, make_task


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


class Predictor:
    """Holds a plan's base model and scores one adapter after another on it."""

    def __init__(self, plan: Plan, folder: Path, *, batch_size: int) -> None:
        check_model(plan, folder)
        task = make_task(plan.task)
        base = load_base(plan, folder)
        model = attach_lora(base, plan.lora).eval()
        self._parameters = live_parameters(model)
        self._scorer = Scorer(
            task=task,
            model=model,
            tokenizer=base.tokenizer,
            max_length=plan.model.max_length,
            batch_size=batch_size,
        )

    def encode(self, records: Sequence[Record]) -> list[Example]:
        """Token ids, once for all adapters."""
        return self._scorer.encode(records)

    def outcomes(self, adapter: Adapter, examples: Sequence[Example]) -> Outcomes:
        """What the adapter says, rows in the order of `examples`."""
        write_adapter(self._parameters, adapter)
        return self._scorer.outcomes(examples)
