"""One forward and one backward pass for a LoRA layer, with the gradients of single examples.

PEFT computes a LoRA layer as five operations that autograd strings together, and a private step
then computes its gradients a second time, example by example. Here the layer is one operation;
its backward pass makes what clipping needs straight from rank-r products, and nothing that a
frozen base does not need.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

# What autograd wants from a backward pass: one entry for each argument of `forward`.
Gradients = tuple[torch.Tensor | None, ...]


@dataclass(frozen=True, kw_only=True)
class FrozenTerms:
    """What does not train: the base layer, weight of shape (out, in), and a dropout mask in the
    shape of the layer's input, in the precision of that input."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    mask: torch.Tensor | None


@dataclass(frozen=True, kw_only=True)
class LoraTerms:
    """The trained matrices of one layer: A of shape (rank, in), B of shape (out, rank).

    With `per_example`, their gradients go to `grad_sample`, shape (examples, ...), and autograd
    gets none; otherwise autograd gets the sums, as in ordinary training.
    """

    a: nn.Parameter
    b: nn.Parameter
    scaling: float
    per_example: bool


class FusedLora(torch.autograd.Function):
    """y = x W^T + bias + s (x∘m) A^T B^T, for x of shape (examples, ..., in), dropout mask m.

    Guarantee: for each example i with rows x_i, h_i = (x_i∘m_i) A^T and incoming g_i, backward
    gives dB_i = s g_i^T h_i and dA_i = s (g_i B)^T (x_i∘m_i), which depend on example i alone
    if g_i and x_i do. Computed in the precision of `x`. The weight gets no gradient, and x gets
    one only if something below it trains.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        a: torch.Tensor,
        b: torch.Tensor,
        frozen: FrozenTerms,
        terms: LoraTerms,
    ) -> torch.Tensor:
        """The layer's output, shape (examples, ..., out)."""
        rows = x.reshape(-1, x.shape[-1])
        seen = rows if frozen.mask is None else rows * frozen.mask.view(rows.shape)
        low_a, low_b = a.to(x.dtype), b.to(x.dtype)
        hidden = seen @ low_a.t()
        out = linear(x, frozen.weight, frozen.bias)
        out.view(-1, out.shape[-1]).addmm_(hidden, low_b.t(), alpha=terms.scaling)
        # Without a trained A, the layer's input is needed by nobody.
        kept = seen if terms.a.requires_grad else None
        ctx.save_for_backward(kept, hidden, low_a, low_b)
        ctx.terms, ctx.frozen, ctx.shape = terms, frozen, x.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        """Gradients of x, and of A and B one way or the other."""
        seen, hidden, low_a, low_b = ctx.saved_tensors
        terms: LoraTerms = ctx.terms
        rows = grad.reshape(-1, grad.shape[-1])
        inner = (rows @ low_b).mul_(terms.scaling)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = _grad_of_input(rows, inner, low_a, ctx.frozen).view(ctx.shape)
        deliver = _by_example if terms.per_example else _summed
        grad_a = grad_b = None
        if terms.a.requires_grad:
            grad_a = deliver(terms.a, inner, seen, ctx.shape[0])
        if terms.b.requires_grad:
            grad_b = deliver(terms.b, rows, hidden.mul_(terms.scaling), ctx.shape[0])
        return grad_x, grad_a, grad_b, None, None


def _grad_of_input(
    rows: torch.Tensor, inner: torch.Tensor, low_a: torch.Tensor, frozen: FrozenTerms
) -> torch.Tensor:
    through_base = rows @ frozen.weight
    if frozen.mask is None:
        return through_base.addmm_(inner, low_a)
    through_lora = (inner @ low_a).mul_(frozen.mask.view(through_base.shape))
    return through_base.add_(through_lora)


def _by_example(
    parameter: nn.Parameter, left: torch.Tensor, right: torch.Tensor, examples: int
) -> None:
    """left_i^T right_i of each example i, into `grad_sample`."""
    lefts = left.view(examples, -1, left.shape[-1]).transpose(1, 2)
    found = torch.bmm(lefts, right.view(examples, -1, right.shape[-1]))
    before = getattr(parameter, "grad_sample", None)
    # A layer that is used twice in one pass has the sum of both.
    setattr(parameter, "grad_sample", found if before is None else before + found)  # noqa: B010


def _summed(
    parameter: nn.Parameter, left: torch.Tensor, right: torch.Tensor, _examples: int
) -> torch.Tensor:
    return (left.t() @ right).to(parameter.dtype)
