"""One forward and one backward pass for a LoRA layer, with the gradients of single examples.

PEFT computes a LoRA layer as five operations that autograd strings together, and a private step
then computes its gradients a second time, example by example. Here the layer is one operation;
its backward pass makes what clipping needs straight from rank-r products, and nothing that a
frozen base does not need.
"""

from collections.abc import Callable
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
    """What does not train: the base layer, and a dropout mask in the shape of the layer's input,
    in the precision of that input.

    `weight` gives the matrix of shape (out, in) whenever it is asked, since weights held in few
    bits are spelt out for each use and not kept between a forward and its backward pass."""

    weight: Callable[[], torch.Tensor]
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
        # Rank comes first in all rank-r products: so laid out they take a half to a quarter of
        # the time.
        hidden = low_a @ seen.t()
        out = linear(x, frozen.weight(), frozen.bias)
        out.view(-1, out.shape[-1]).addmm_(hidden.t(), low_b.t(), alpha=terms.scaling)
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
        inner = (low_b.t() @ rows.t()).mul_(terms.scaling)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = _grad_of_input(rows, inner, low_a, ctx.frozen).view(ctx.shape)
        product = _by_example if terms.per_example else _summed
        grad_a = grad_b = None
        if terms.a.requires_grad:
            grad_a = product(inner, seen, ctx.shape[0])
        if terms.b.requires_grad:
            grad_b = product(hidden.mul_(terms.scaling), rows, ctx.shape[0]).mT
        if not terms.per_example:
            return grad_x, _as(terms.a, grad_a), _as(terms.b, grad_b), None, None
        _keep(terms.a, grad_a)
        _keep(terms.b, grad_b)
        return grad_x, None, None, None, None


def _grad_of_input(
    rows: torch.Tensor, inner: torch.Tensor, low_a: torch.Tensor, frozen: FrozenTerms
) -> torch.Tensor:
    through_base = rows @ frozen.weight()
    if frozen.mask is None:
        return through_base.addmm_(inner.t(), low_a)
    through_lora = (inner.t() @ low_a).mul_(frozen.mask.view(through_base.shape))
    return through_base.add_(through_lora)


def _by_example(ranked: torch.Tensor, rows: torch.Tensor, examples: int) -> torch.Tensor:
    """The product of each example's columns of `ranked` and its `rows`: (examples, rank, ...)."""
    lefts = ranked.view(len(ranked), examples, -1).transpose(0, 1)
    return torch.bmm(lefts, rows.view(examples, -1, rows.shape[-1]))


def _summed(ranked: torch.Tensor, rows: torch.Tensor, _examples: int) -> torch.Tensor:
    """The same summed over examples: (rank, ...)."""
    return ranked @ rows


def _keep(parameter: nn.Parameter, found: torch.Tensor | None) -> None:
    if found is None:
        return
    before = getattr(parameter, "grad_sample", None)
    # A layer that is used twice in one pass has the sum of both.
    setattr(parameter, "grad_sample", found if before is None else before + found)  # noqa: B010


def _as(parameter: nn.Parameter, found: torch.Tensor | None) -> torch.Tensor | None:
    return None if found is None else found.to(parameter.dtype)
