"""The matrix of a frozen linear layer, however the layer holds it."""

from collections.abc import Callable

import torch
from peft.utils.integrations import dequantize_bnb_weight
from torch import nn
from transformers.pytorch_utils import Conv1D

from fedloom.shared.errors import TrainingError


def is_quantized(layer: nn.Module) -> bool:
    """Whether bitsandbytes holds the layer's weights in four bits."""
    # Its classes exist only where it is installed.
    return type(getattr(layer, "weight", None)).__name__ == "Params4bit"


def frozen_weight(layer: nn.Module, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    """Gives the matrix, shape (out, in), in `dtype`."""
    weight = layer.get_parameter("weight")
    if is_quantized(layer):
        state = getattr(weight, "quant_state", None)
        if getattr(state, "packing_format_for_cpu", False):
            # What a forward pass without gradients makes of it on some processors.
            raise TrainingError("layer: weights are packed for inference, expected as loaded")
        return lambda: dequantize_bnb_weight(weight).to(dtype)
    plain = (weight.t() if isinstance(layer, Conv1D) else weight).to(dtype)
    return lambda: plain
