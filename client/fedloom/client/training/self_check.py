"""Before a model trains: are its per-sample gradients those of single records?

Per-sample gradients can be wrong without a sign: a layer that looks across the rows of a batch, a
wrapper that hides a layer from the hooks, a library of another version. Then clipping bounds
nothing. So every model is asked once, on texts that are nobody's.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import nn

from fedloom.client.training.steps import Losses
from fedloom.client.training.units import MicroBatch
from fedloom.shared.data.records import Record
from fedloom.shared.errors import TrainingError

# Of the norm of a tensor's largest gradient; wider batches round otherwise.
_TOLERANCE: Mapping[str, float] = MappingProxyType({"fp32": 1e-3, "bf16": 0.1})
_WORDS = (1, 4, 11, 30)
_START = 0.05


def probe_records(classes: int) -> list[Record]:
    """Texts of several lengths that hold nothing of anybody's."""
    return [
        Record(text="one two three four five six " * words, label=at % classes, unit=str(at))
        for at, words in enumerate(_WORDS)
    ]


def check_gradients(
    trained: Mapping[str, nn.Parameter],
    losses: Losses,
    reference: Losses,
    *,
    together: MicroBatch,
    alone: Sequence[MicroBatch],
    precision: str,
) -> None:
    """Compare `grad_sample` of one batch with the gradients of its rows taken one by one.

    `losses` is what trains; `reference` computes the same by other code, and leaves `grad`.

    Guarantee: on the rows given, at a random adapter, each row of `grad_sample` is the gradient
    of that row alone, but for the rounding of `precision`. Overwrites the parameters' values.

    Raises:
        TrainingError: naming the first tensor whose gradients differ.
    """
    _randomise(trained)
    _clear(trained)
    torch.autograd.backward(losses(together).sum())
    found = {name: _rows(parameter, alone) for name, parameter in trained.items()}
    singles = [_single(trained, reference, piece) for piece in alone]
    _clear(trained)
    for name, rows in found.items():
        expected = torch.stack([single[name] for single in singles])
        error = (rows - expected).flatten(1).norm(dim=1).max()
        # So put, that a gradient which is no number is refused too.
        if not error <= _TOLERANCE[precision] * expected.flatten(1).norm(dim=1).max():
            raise TrainingError(
                f"parameter {name}: its per-sample gradients are not those of single records, "
                "expected a model whose rows do not see each other"
            )


def _rows(parameter: nn.Parameter, alone: Sequence[MicroBatch]) -> torch.Tensor:
    rows = getattr(parameter, "grad_sample", None)
    expected = (len(alone), *parameter.shape)
    if isinstance(rows, torch.Tensor) and rows.shape == expected:
        return rows.detach().float().clone()
    # No hook fired: right only if no gradient arrives either, which the comparison shows.
    return torch.zeros(expected)


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


def _randomise(trained: Mapping[str, nn.Parameter]) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trained.values():
            parameter.normal_(std=_START, generator=generator)


def _clear(trained: Mapping[str, nn.Parameter]) -> None:
    for parameter in trained.values():
        parameter.grad = None
        parameter.grad_sample = None  # type: ignore[attr-defined]
