"""Frozen weights kept in the precision that they are computed in."""

from collections.abc import Iterable

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D


def lower_frozen(model: nn.Module, dtype: torch.dtype, *, but: Iterable[nn.Parameter]) -> None:
    """Round the frozen linear layers of `model`, `but` for these parameters, to `dtype` once.

    Autocast rounds a weight that does not train again in every pass, to the same values, which
    for a small batch costs more than the layer itself. Weights that an embedding shares stay, since
    embeddings are not computed in lower precision.
    """
    shared = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    kept = {id(parameter) for parameter in (*shared, *but)}
    for module in model.modules():
        if isinstance(module, nn.Linear | Conv1D):
            for parameter in module.parameters(recurse=False):
                frozen = parameter.is_floating_point() and not parameter.requires_grad
                if frozen and id(parameter) not in kept:
                    parameter.data = parameter.data.to(dtype)
