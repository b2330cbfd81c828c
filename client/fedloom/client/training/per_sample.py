"""Per-sample gradients through Opacus, and the refusal of what has no rule for them."""

import torch
from opacus import GradSampleModule
from torch import nn

from fedloom.shared.errors import TrainingError


def with_grad_samples(model: nn.Module) -> GradSampleModule:
    """Wrap `model` so that a backward pass leaves `grad_sample` on every trained parameter.

    Guarantee: everything trainable has a per-sample rule, and no layer mixes the examples of a
    batch; otherwise nothing is wrapped.

    Raises:
        TrainingError: naming the parameter or layer that has no rule.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise TrainingError(f"layer {name}: batch normalisation mixes records, expected none")
        for part, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and type(module) not in GradSampleModule.GRAD_SAMPLERS:
                raise TrainingError(
                    f"parameter {name}.{part}: no per-sample gradient rule for "
                    f"{type(module).__name__}, expected it frozen"
                )
    return GradSampleModule(model, batch_first=True, loss_reduction="sum", strict=False)


def gather_units(grad_sample: torch.Tensor, unit_of: torch.Tensor, units: int) -> torch.Tensor:
    """Sum per-example gradients, shape (examples, ...), into per-unit ones, (units, ...).

    A gradient that is not finite counts as zero: one bad record then contributes nothing,
    which is within every bound, and cannot stop the others or show itself in an error.
    Takes over `grad_sample`, which is overwritten.
    """
    finite = _finite(grad_sample.float().contiguous())
    if torch.equal(unit_of, torch.arange(units, device=unit_of.device)):
        return finite
    summed = finite.new_zeros((units, *finite.shape[1:]))
    return _finite(summed.index_add_(0, unit_of, finite))


def add_finite(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The sum of what two pieces of the same units gave."""
    return _finite(first + second)


def _finite(summed: torch.Tensor) -> torch.Tensor:
    # Finite rows may still add up to infinity.
    return summed.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
