"""Before a model trains: are its per-sample gradients those of single records?

Per-sample gradients can be wrong without a sign: a layer that looks across the rows of a batch, a
wrapper that hides a layer from the hooks, a library of another version. Then clipping bounds
nothing. So every model is asked once, on texts that are nobody's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from fedloom.client.training.pieces import MicroBatch
from fedloom.client.training.steps import Losses
from fedloom.shared.data.records import Record
from fedloom.shared.errors import TrainingError
from fedloom.shared.model.base import Tokenizer
from fedloom.shared.plan import Plan
from fedloom.shared.tasks.base import Example, Task

# Of the norm of a tensor's largest gradient: fp32 rounds otherwise in wider batches.
_TOLERANCE = 1e-3
# How many times over a lower precision may round in one batch as it does in single rows.
_ROUNDINGS = 4.0
_WORDS = (1, 3, 7)
# What its rows' losses count for: no two alike, as with a unit's copies and weights.
_SHARES = (1.0, 0.25, 3.0)
_ANSWERS = ("seven", "seven eight nine ten")
_START = 0.05

# Gradients of a probe's rows, by tensor, shape (rows, ...).
Singles = Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Texts of several lengths that hold nothing of anybody's, in one batch and one by one."""

    together: MicroBatch
    alone: tuple[MicroBatch, ...]

    @classmethod
    def of(cls, task: Task, tokenizer: Tokenizer, plan: Plan) -> "Probe":
        """The probe as the plan's task encodes it."""
        answers = plan.task.labels or _ANSWERS
        records = [
            Record(
                text="one two " * words,
                label=at % len(answers),
                unit=str(at),
                answer=answers[at % len(answers)],
            )
            for at, words in enumerate(_WORDS)
        ]
        examples = task.encode(records, tokenizer, max_length=plan.model.max_length)
        alone = tuple(
            _batch([example], [share]) for example, share in zip(examples, _SHARES, strict=True)
        )
        return cls(together=_batch(examples, _SHARES), alone=alone)


def randomise(trained: Mapping[str, nn.Parameter]) -> None:
    """Random values, so that no gradient is zero and no row is like another."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trained.values():
            parameter.copy_(_START * torch.randn(parameter.shape, generator=generator))


def same_losses(losses: Losses, others: Losses, probe: Probe) -> bool:
    """Whether two ways of computing the probe's losses agree, but for fp32's rounding."""
    with torch.no_grad():
        return torch.allclose(losses(probe.together), others(probe.together), rtol=1e-5, atol=1e-7)


def _batch(examples: Sequence[Example], shares: Sequence[float]) -> MicroBatch:
    count = len(examples)
    return MicroBatch(
        indices=tuple(range(count)),
        examples=tuple(examples),
        unit_of=tuple(range(count)),
        shares=tuple(shares),
        units=count,
    )


def single_gradients(trained: Mapping[str, nn.Parameter], losses: Losses, probe: Probe) -> Singles:
    """The gradients of each row alone, by plain autograd: by tensor, shape (rows, ...)."""
    rows = [_single(trained, losses, piece) for piece in probe.alone]
    _clear(trained)
    return {name: torch.stack([row[name] for row in rows]) for name in trained}


def check_gradients(
    trained: Mapping[str, nn.Parameter],
    losses: Losses,
    probe: Probe,
    *,
    singles: Singles,
    exact: Singles,
) -> None:
    """Compare `grad_sample` of one batch with the gradients of its rows taken one by one.

    `singles` come from other code in the same precision, `exact` in fp32: as far as the two
    differ, the precision itself rounds, which is no fault.

    Guarantee: on the rows given and at the parameters' present values, each row of `grad_sample`
    is the gradient of that row alone, but for rounding.

    Raises:
        TrainingError: naming the first tensor whose gradients differ.
    """
    _clear(trained)
    torch.autograd.backward(losses(probe.together).sum())
    found = {name: _rows(parameter, probe.alone) for name, parameter in trained.items()}
    _clear(trained)
    for name, rows in found.items():
        rounding = _largest(singles[name] - exact[name])
        allowed = _TOLERANCE * _largest(exact[name]) + _ROUNDINGS * rounding
        # So put, that a gradient which is no number is refused too.
        if not _largest(rows - singles[name]) <= allowed:
            raise TrainingError(
                f"parameter {name}: its per-sample gradients are not those of single records, "
                "expected a model whose rows do not see each other"
            )


def check_the_check(
    trained: Mapping[str, nn.Parameter], losses: Losses, probe: Probe, singles: Singles
) -> None:
    """Make sure that rows which see each other would have been caught on this very model.

    Raises:
        TrainingError: the check passes a loss that couples the rows of a batch.
    """

    def coupled(piece: MicroBatch) -> torch.Tensor:
        each = losses(piece)
        return each * each.mean()

    try:
        check_gradients(trained, coupled, probe, singles=singles, exact=singles)
    except TrainingError:
        return
    raise TrainingError(
        "self-check: passes gradients that are wrong on purpose, expected it to refuse them"
    )


def _largest(rows: torch.Tensor) -> torch.Tensor:
    largest: torch.Tensor = rows.flatten(1).norm(dim=1).max()
    return largest


def _rows(parameter: nn.Parameter, alone: Sequence[MicroBatch]) -> torch.Tensor:
    rows = getattr(parameter, "grad_sample", None)
    expected = (len(alone), *parameter.shape)
    if isinstance(rows, torch.Tensor) and rows.shape == expected:
        return rows.detach().float().clone()
    # No hook fired: right only if no gradient arrives either, which the comparison shows.
    return parameter.new_zeros(expected)


def _single(
    trained: Mapping[str, nn.Parameter],
    reference: Losses,
    piece: MicroBatch,
) -> dict[str, torch.Tensor]:
    _clear(trained)
    torch.autograd.backward(reference(piece).sum())
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in trained.items()
    }


def _clear(trained: Mapping[str, nn.Parameter]) -> None:
    for parameter in trained.values():
        parameter.grad = None
        parameter.grad_sample = None  # type: ignore[attr-defined]
