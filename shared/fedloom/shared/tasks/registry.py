"""Tasks by the name that a plan gives them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from fedloom.shared.config.sections import TaskSection
from fedloom.shared.model.base import BaseModel
from fedloom.shared.plan import Plan
from fedloom.shared.tasks.base import Task
from fedloom.shared.tasks.causal import CausalForm
from fedloom.shared.tasks.classification import Classification
from fedloom.shared.tasks.generation import Generation
from fedloom.shared.tasks.seq2seq import Seq2SeqForm

TASKS: Mapping[str, Callable[[TaskSection], Task]] = MappingProxyType(
    {
        "classification": Classification,
        "causal-lm": lambda section: Generation(section, CausalForm()),
        "seq2seq": lambda section: Generation(section, Seq2SeqForm()),
    }
)


def make_task(section: TaskSection) -> Task:
    """The task that a plan's `[task]` asks for."""
    return TASKS[section.kind](section)


def load_base(plan: Plan, folder: Path) -> BaseModel:
    """The plan's base model with its task's head, as every side of a federation loads it.

    Raises:
        ModelError: the folder holds no such model.
    """
    task = make_task(plan.task)
    return task.load(folder, seed=plan.lora.init_seed, quantization=plan.model.quantization)
