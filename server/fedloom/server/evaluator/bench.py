"""One load of a base model for all adapters of a plan: switching copies an adapter's values in."""

from collections.abc import Sequence
from pathlib import Path

import torch

from fedloom.server.evaluator.metrics import Outcomes
from fedloom.server.evaluator.scorer import Scorer
from fedloom.server.evaluator.standalone import load_scorer
from fedloom.server.evaluator.subject import Candidate, Memory, Subject
from fedloom.server.initial import check_model
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.sections import TaskSection
from fedloom.shared.data.records import Record
from fedloom.shared.errors import EvaluationError
from fedloom.shared.model.card import AdapterCard
from fedloom.shared.model.lora import attach_lora, live_parameters, read_adapter, write_adapter
from fedloom.shared.plan import Plan
from fedloom.shared.tasks.base import Example
from fedloom.shared.tasks.registry import load_base, make_task


class Bench:
    """A base model with an adapter's parameters, loaded once."""

    def __init__(
        self, scorer: Scorer, task: TaskSection, parameters: dict[str, torch.nn.Parameter]
    ) -> None:
        self._scorer = scorer
        self._task = task
        self._parameters = parameters
        self._memories: dict[str, Memory] = {}

    def encode(self, records: Sequence[Record]) -> list[Example]:
        """Token ids, once for all adapters."""
        return self._scorer.encode(records)

    def outcomes(self, adapter: Adapter, examples: Sequence[Example]) -> Outcomes:
        """What an adapter says, rows in the order of `examples`."""
        write_adapter(self._parameters, adapter)
        return self._scorer.outcomes(examples)

    def subject(self, candidate: Candidate) -> Subject:
        """Put the candidate's values into the model. The subject before is no longer valid.

        Raises:
            EvaluationError: its tensors are not those of this model.
        """
        shapes = {name: tuple(at.shape) for name, at in self._parameters.items()}
        found = {spec.name: spec.shape for spec in candidate.adapter.layout.tensors}
        if found != shapes:
            raise EvaluationError(
                f"{candidate.name}: an adapter of another shape or base model, expected the "
                "tensors that the others have"
            )
        write_adapter(self._parameters, candidate.adapter)
        memory = self._memories.setdefault(candidate.adapter.sha256, {})
        return Subject(candidate=candidate, task=self._task, scorer=self._scorer, memory=memory)


def plan_bench(plan: Plan, folder: Path, *, batch_size: int) -> Bench:
    """The bench for all adapters that a plan makes.

    Raises:
        ModelError: the folder holds another model than the plan's.
    """
    check_model(plan, folder)
    base = load_base(plan, folder)
    model = attach_lora(base, plan.lora).eval()
    scorer = Scorer(
        task=make_task(plan.task),
        model=model,
        tokenizer=base.tokenizer,
        max_length=plan.model.max_length,
        batch_size=batch_size,
    )
    return Bench(scorer, plan.task, live_parameters(model))


def folder_bench(adapter: Path, model: Path, *, batch_size: int) -> tuple[Bench, Adapter]:
    """The bench of an adapter folder alone, and the adapter in it.

    Raises:
        ModelError: the folder was not made by FedLoom, or for another base model.
    """
    scorer = load_scorer(adapter, model, batch_size=batch_size)
    parameters = live_parameters(scorer.model)
    task = AdapterCard.read(adapter).task
    return Bench(scorer, task, parameters), read_adapter(parameters)
