"""The matrix of a frozen linear layer, however the layer holds it."""

from collections.abc import Callable

import torch
from peft.utils.integrations import dequantize_bnb_weight
from torch import nn
from transformers.pytorch_utils import Conv1D


def is_quantized(layer: nn.Module) -> bool:
    """Whether bitsandbytes holds the layer's weights in four bits."""
    # Its classes exist only where it is installed.
    return type(getattr(layer, "weight", None)).__name__ == "Params4bit"


def frozen_weight(layer: nn.Module, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    """Gives the matrix, shape (out, in), in `dtype`."""
    weight = layer.get_parameter("weight")
    if is_quantized(layer):
        return lambda: dequantize_bnb_weight(weight).to(dtype)
    plain = (weight.t() if isinstance(layer, Conv1D) else weight).to(dtype)
    return lambda: plain
