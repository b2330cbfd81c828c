"""What is done to the gradients of units before they are clipped."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch

# Bu et al. 2023 found one value to do for all models and tasks.
_STABILITY = 0.01

# Changes, in place, tensors whose first dimension is the unit, given the clip norm.
Rescale = Callable[[Sequence[torch.Tensor], float], None]


def flat(_rows: Sequence[torch.Tensor], _bound: float) -> None:
    """Nothing: gradients beyond the bound are clipped, smaller ones stay (Abadi et al. 2016)."""


def automatic(rows: Sequence[torch.Tensor], bound: float) -> None:
    """Brings each unit's whole gradient g to g * bound / (|g| + 0.01): about as long as the bound.

    AUTO-S of Bu et al. 2023, "Automatic Clipping": the clip norm then only scales the learning
    rate. Every result is shorter than the bound.
    """
    by_tensor = [row.reshape(len(row), -1).norm(dim=1) for row in rows]
    factors = bound / (torch.stack(by_tensor, dim=1).norm(dim=1) + _STABILITY)
    for row in rows:
        row.mul_(factors.view(-1, *[1] * (row.dim() - 1)))


CLIPPINGS: Mapping[str, Rescale] = MappingProxyType({"flat": flat, "automatic": automatic})
