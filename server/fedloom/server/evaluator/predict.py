"""Class probabilities of an adapter on held-out records."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fedloom.server.initial import check_model
from fedloom.shared.adapter import Adapter
from fedloom.shared.data.records import Record
from fedloom.shared.model.lora import attach_lora, live_parameters, write_adapter
from fedloom.shared.plan import Plan
from fedloom.shared.tasks.base import Example
from fedloom.shared.tasks.registry import TASKS


class Predictor:
    """Holds the plan's base model and scores one adapter after another on it, in fp32."""

    def __init__(self, plan: Plan, folder: Path, *, batch_size: int) -> None:
        check_model(plan, folder)
        self._task = TASKS[plan.task.kind]
        base = self._task.load(folder, plan)
        self._tokenizer = base.tokenizer
        self._max_length = plan.model.max_length
        self._batch_size = batch_size
        self._classes = len(plan.task.labels)
        self._model = attach_lora(base, plan.lora).eval()
        self._parameters = live_parameters(self._model)

    def encode(self, records: Sequence[Record]) -> list[Example]:
        """Token ids, once for all adapters."""
        return self._task.encode(records, self._tokenizer, max_length=self._max_length)

    def probabilities(
        self, adapter: Adapter, examples: Sequence[Example]
    ) -> NDArray[np.float64]:
        """Shape (examples, classes), rows in the order of `examples`."""
        write_adapter(self._parameters, adapter)
        found = np.zeros((len(examples), self._classes))
        # Similar lengths together: less padding, same result.
        order = sorted(range(len(examples)), key=lambda at: len(examples[at].tokens))
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            batch = self._task.collate([examples[at] for at in rows], self._tokenizer)
            with torch.inference_mode():
                found[rows] = self._task.probabilities(self._model, batch).double().numpy()
        return found
