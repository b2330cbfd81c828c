"""The fused LoRA layer against the same layer spelt out to autograd, example by example."""

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from fedloom.client.training.fused import FrozenTerms, FusedLora, LoraTerms

EXAMPLES, TOKENS, WIDTH, OUT, RANK, SCALING = 3, 5, 7, 6, 2, 1.7


class Layer:
    """Random terms in fp64, where only mistakes are larger than rounding."""

    def __init__(self, *, dropout: bool, bias: bool) -> None:
        draw = torch.Generator().manual_seed(3)

        def random(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

        self.x = random(EXAMPLES, TOKENS, WIDTH).requires_grad_()
        self.a, self.b = nn.Parameter(random(RANK, WIDTH)), nn.Parameter(random(OUT, RANK))
        keep = (random(EXAMPLES, TOKENS, WIDTH) > -0.5).double() / 0.7
        self.mask = keep if dropout else None
        self.weight, self.bias = random(OUT, WIDTH), random(OUT) if bias else None
        self.towards = random(EXAMPLES, TOKENS, OUT)

    def fused(self, *, per_example: bool) -> torch.Tensor:
        frozen = FrozenTerms(weight=lambda: self.weight, bias=self.bias, mask=self.mask)
        terms = LoraTerms(a=self.a, b=self.b, scaling=SCALING, per_example=per_example)
        return FusedLora.apply(self.x, self.a, self.b, frozen, terms)

    def spelt_out(self) -> torch.Tensor:
        seen = self.x if self.mask is None else self.x * self.mask
        return linear(self.x, self.weight, self.bias) + SCALING * (seen @ self.a.t() @ self.b.t())

    def loss(self, out: torch.Tensor) -> torch.Tensor:
        return (out * self.towards).tanh().sum(dim=(1, 2))


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_output_and_gradients_are_those_of_the_layer_spelt_out(dropout: bool, bias: bool) -> None:
    layer = Layer(dropout=dropout, bias=bias)
    out, expected = layer.fused(per_example=False), layer.spelt_out()
    torch.testing.assert_close(out, expected)
    leaves = (layer.x, layer.a, layer.b)
    found = torch.autograd.grad(layer.loss(out).sum(), leaves)
    torch.testing.assert_close(found, torch.autograd.grad(layer.loss(expected).sum(), leaves))


@pytest.mark.parametrize("dropout", [False, True])
def test_gradients_by_example_are_those_of_each_example(dropout: bool) -> None:
    layer = Layer(dropout=dropout, bias=True)
    layer.loss(layer.fused(per_example=True)).sum().backward()
    assert layer.a.grad is None and layer.b.grad is None
    losses = layer.loss(layer.spelt_out())
    for at in range(EXAMPLES):
        expected = torch.autograd.grad(losses[at], (layer.a, layer.b), retain_graph=True)
        found = (layer.a.grad_sample[at], layer.b.grad_sample[at])
        torch.testing.assert_close(found, expected)
