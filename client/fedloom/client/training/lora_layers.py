"""Puts the fused operation in the place of PEFT's forward pass, layer by layer."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from fedloom.client.training.frozen_weights import frozen_weight, is_quantized
from fedloom.client.training.fused import FrozenTerms, FusedLora, LoraTerms

_ADAPTER = "default"


class FusedForward:
    """The forward pass of one LoRA layer; PEFT's module keeps the tensors and their names."""

    def __init__(self, layer: LoraLayer, *, per_example: bool) -> None:
        self._base = layer.get_base_layer()
        self._dropout = layer.lora_dropout[_ADAPTER]
        self._terms = LoraTerms(
            a=layer.lora_A[_ADAPTER].weight,
            b=layer.lora_B[_ADAPTER].weight,
            scaling=float(layer.scaling[_ADAPTER]),
            per_example=per_example,
        )

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """As `lora.Linear`, for x of shape (examples, ..., in)."""
        device = x.device.type
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else x.dtype
        bias, terms = self._base.bias, self._terms
        low = x.to(dtype)
        with torch.autocast(device, enabled=False):
            frozen = FrozenTerms(
                weight=frozen_weight(self._base, dtype),
                bias=None if bias is None else bias.to(dtype),
                mask=self._mask(low),
            )
            out: torch.Tensor = FusedLora.apply(low, terms.a, terms.b, frozen, terms)  # type: ignore[no-untyped-call]
        return out

    def _mask(self, x: torch.Tensor) -> torch.Tensor | None:
        keep = 1 - float(getattr(self._dropout, "p", 0.0))
        if keep == 1 or not self._dropout.training:
            return None
        return torch.empty_like(x).bernoulli_(keep).div_(keep)


def fuse_lora(model: nn.Module, *, per_example: bool) -> None:
    """Fuse every plain LoRA layer of `model`.

    Layers of another kind (embeddings, DoRA, several adapters, a LoRA bias) stay as they are.
    """
    for layer in model.modules():
        if isinstance(layer, LoraLayer) and _is_plain(layer):
            layer.forward = FusedForward(layer, per_example=per_example)


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Within the block, LoRA's dropout is off, so that two passes can be compared."""
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
    for layer in layers:
        layer.lora_dropout.eval()
    try:
        yield
    finally:
        for layer in layers:
            layer.lora_dropout.train()


@contextmanager
def as_peft(model: nn.Module) -> Iterator[None]:
    """Within the block, `model` computes by PEFT's own code: the reference for ours."""
    fused = [layer for layer in model.modules() if "forward" in vars(layer)]
    forwards = [layer.__dict__.pop("forward") for layer in fused]
    try:
        yield
    finally:
        for layer, forward in zip(fused, forwards, strict=True):
            layer.forward = forward


def _is_plain(layer: LoraLayer) -> bool:
    base = layer.get_base_layer()
    frozen = not any(parameter.requires_grad for parameter in base.parameters())
    return (
        _is_linear(layer, base)
        and frozen
        and list(layer.lora_A) == [_ADAPTER]
        and not layer.lora_variant
        and not layer.merged
        and layer.lora_B[_ADAPTER].bias is None
    )


def _is_linear(layer: LoraLayer, base: nn.Module) -> bool:
    if is_quantized(base):
        # PEFT's class for it exists only where bitsandbytes does.
        return type(layer).__name__ == "Linear4bit"
    return type(layer) is LoraLinear and type(base) in (nn.Linear, Conv1D)
