"""Gradients of single records, a batch in one pass."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from torch import nn

from fedloom.server.evaluator.scorer import Scorer
from fedloom.shared.errors import EvaluationError
from fedloom.shared.tasks.base import Example, device_of

# A module's input and output, of each of its calls.
_Calls = list[tuple[torch.Tensor, torch.Tensor]]
_Rule = Callable[[nn.Module, list[torch.Tensor], torch.Tensor], Mapping[nn.Parameter, torch.Tensor]]
_Rows = dict[str, NDArray[np.float32]]


def per_record(
    scorer: Scorer, parameters: Mapping[str, nn.Parameter], examples: Sequence[Example]
) -> _Rows:
    """The gradient of each example's loss in each parameter, shape (examples, *parameter).

    What a module's output does to the loss, and what went into the module, give each example's
    own gradient (Goodfellow 2015, arXiv:1510.01799), by Opacus's rules for modules. The model may
    be in evaluation mode, where Opacus itself keeps nothing.

    Raises:
        EvaluationError: a module has no such rule, or a parameter took no part.
    """
    rows = {
        name: np.zeros((len(examples), *values.shape), np.float32)
        for name, values in parameters.items()
    }
    names = {values: name for name, values in parameters.items()}
    unheard = set(rows)
    for module, seen, backs in _passed(scorer, _owners(scorer.model, names), examples):
        for parameter, found in _rule(module)(module, [seen], backs).items():
            if parameter in names:
                _add(rows[names[parameter]], found)
                unheard.discard(names[parameter])
    if unheard:
        # Zeros would say that it remembers nothing.
        raise EvaluationError(
            f"canaries: no gradient by record of {min(unheard)}, expected one of every tensor"
        )
    return rows


def _add(rows: NDArray[np.float32], found: torch.Tensor) -> None:
    if tuple(found.shape) != rows.shape:
        # One row would be added to all.
        raise EvaluationError(
            f"canaries: gradients of shape {tuple(found.shape)}, expected {rows.shape}"
        )
    rows += found.detach().float().cpu().numpy()


def _rule(module: nn.Module) -> _Rule:
    found: _Rule | None = GradSampleModule.GRAD_SAMPLERS.get(type(module))
    if found is None:
        raise EvaluationError(
            f"canaries: no rule for gradients by record in {type(module).__name__}, expected a "
            "module that Opacus knows"
        )
    return found


def _owners(model: nn.Module, wanted: Mapping[nn.Parameter, str]) -> list[nn.Module]:
    return [
        module
        for module in model.modules()
        if any(values in wanted for values in module.parameters(recurse=False))
    ]


def _passed(
    scorer: Scorer, modules: Sequence[nn.Module], examples: Sequence[Example]
) -> Iterator[tuple[nn.Module, torch.Tensor, torch.Tensor]]:
    """Each call of each module: what it read, and the summed loss's gradient in what it said."""
    with _listening(modules) as calls:
        batch = scorer.task.collate(examples, scorer.tokenizer).to(device_of(scorer.model))
        loss = scorer.task.losses(scorer.model, batch).sum()
    each = [(module, *call) for module, found in calls.items() for call in found]
    outputs = [output for *_, output in each]
    backs = torch.autograd.grad(loss, outputs, allow_unused=True)
    for (module, seen, _), back in zip(each, backs, strict=True):
        if back is not None:
            yield module, seen.detach(), back


@contextmanager
def _listening(modules: Sequence[nn.Module]) -> Iterator[Mapping[nn.Module, _Calls]]:
    """Inputs and outputs of modules while the block runs."""
    calls: dict[nn.Module, _Calls] = {module: [] for module in modules}
    handles = [module.register_forward_hook(partial(_hear, calls)) for module in modules]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _hear(
    calls: Mapping[nn.Module, _Calls],
    module: nn.Module,
    read: tuple[torch.Tensor, ...],
    said: torch.Tensor,
) -> None:
    calls[module].append((read[0], said))
