"""One training step by FedLoom and by what else there is, on one workload.

A private step is forward, backward, clipping by example, noise and optimizer; one without privacy
is forward, backward and optimizer. All start from the same adapter, use the same loss of each
row and the same optimizer.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from opacus import GradSampleModule
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping
from peft import PeftModel
from torch import nn

from benchmarks.workloads import Workload
from fedloom.client.training.lora_layers import fuse_lora
from fedloom.client.training.optimizer import SecureDPOptimizer
from fedloom.client.training.passes import Passes
from fedloom.client.training.per_sample import with_grad_samples
from fedloom.client.training.randomness import Stream
from fedloom.client.training.steps import OPTIMIZERS, PlainStep, PrivateStep
from fedloom.shared.model.lora import attach_lora, live_parameters


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What every competitor's step does alike."""

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    noise_multiplier: float = 1.0
    clip_norm: float = 1.0
    start: float | None = None


@dataclass(frozen=True, kw_only=True)
class Competitor:
    """`step` trains `model` once on the workload's batch; `trained` is what it moves."""

    model: nn.Module
    step: Callable[[], object]
    trained: Mapping[str, nn.Parameter]


def tuned_model(workload: Workload, terms: Terms) -> tuple[PeftModel, dict[str, nn.Parameter]]:
    """A fresh model with its adapter, and what trains."""
    model = attach_lora(workload.load(), workload.plan.lora).train()
    trained = live_parameters(model)
    draw = torch.Generator().manual_seed(2)
    for parameter in trained.values():
        parameter.requires_grad_(True)
        if terms.start is not None:
            nn.init.normal_(parameter, std=terms.start, generator=draw)
    return model, trained


def optimizer_of(trained: Mapping[str, nn.Parameter], terms: Terms) -> torch.optim.Optimizer:
    groups: list[dict[str, object]] = [
        {"params": list(trained.values()), "lr": terms.learning_rate}
    ]
    return OPTIMIZERS[terms.optimizer](groups, 0.9 if terms.optimizer == "adam" else 0.0)


def _ours(workload: Workload, terms: Terms, *, private: bool) -> Competitor:
    model, trained = tuned_model(workload, terms)
    fuse_lora(model, per_example=private)
    whole = with_grad_samples(model) if private else model
    precision = workload.plan.training.precision
    passes = Passes(whole, workload.task, workload.tokenizer, precision)
    optimizer, groups = optimizer_of(trained, terms), workload.groups
    rule = private_step(optimizer, workload, terms) if private else _plain_step(optimizer, workload)
    return Competitor(model=model, step=lambda: rule.step(groups, passes.losses), trained=trained)


def private_step(optimizer: torch.optim.Optimizer, workload: Workload, terms: Terms) -> PrivateStep:
    """The product's private step."""
    return PrivateStep(
        SecureDPOptimizer(
            optimizer,
            noise_multiplier=terms.noise_multiplier,
            max_grad_norm=terms.clip_norm,
            expected_batch_size=len(workload.examples),
            stream=Stream(os.urandom(32)),
        )
    )


def _plain_step(optimizer: torch.optim.Optimizer, workload: Workload) -> PlainStep:
    return PlainStep(optimizer, expected_batch_size=len(workload.examples))


def ours_private(workload: Workload, terms: Terms) -> Competitor:
    return _ours(workload, terms, private=True)


def ours_plain(workload: Workload, terms: Terms) -> Competitor:
    return _ours(workload, terms, private=False)


def peft(workload: Workload, terms: Terms) -> Competitor:
    """PEFT's own layers, autograd, no privacy: what everybody runs."""
    model, trained = tuned_model(workload, terms)
    optimizer, batch = optimizer_of(trained, terms), workload.batch()

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(workload.task.losses(model, batch).mean())
        optimizer.step()

    return Competitor(model=model, step=step, trained=trained)


def _hooked(workload: Workload, terms: Terms, *, functorch: bool) -> Competitor:
    model, trained = tuned_model(workload, terms)
    whole = GradSampleModule(model, strict=False, force_functorch=functorch)
    optimizer = DPOptimizer(optimizer_of(trained, terms), **_terms_of_opacus(workload, terms))
    batch = workload.batch()

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(workload.task.losses(whole, batch).mean())
        optimizer.step()

    return Competitor(model=model, step=step, trained=trained)


def _terms_of_opacus(workload: Workload, terms: Terms) -> dict[str, object]:
    return {
        "noise_multiplier": terms.noise_multiplier,
        "max_grad_norm": terms.clip_norm,
        "expected_batch_size": len(workload.examples),
    }


def hooks(workload: Workload, terms: Terms) -> Competitor:
    """Opacus' `grad_sample_mode="hooks"`, its default."""
    return _hooked(workload, terms, functorch=False)


def functorch(workload: Workload, terms: Terms) -> Competitor:
    """Opacus' `grad_sample_mode="functorch"`: torch.func's vmap of grad, layer by layer."""
    return _hooked(workload, terms, functorch=True)


def ghost(workload: Workload, terms: Terms) -> Competitor:
    """Opacus' `grad_sample_mode="ghost"`: norms first, a second backward pass for the sum."""
    model, trained = tuned_model(workload, terms)
    whole = GradSampleModuleFastGradientClipping(
        model, strict=False, max_grad_norm=terms.clip_norm, use_ghost_clipping=True
    )
    optimizer = DPOptimizerFastGradientClipping(
        optimizer_of(trained, terms), **_terms_of_opacus(workload, terms)
    )
    batch = workload.batch()

    def step() -> None:
        optimizer.zero_grad()
        losses = workload.task.losses(whole, batch)
        DPTensorFastGradientClipping(whole, optimizer, losses).backward()
        optimizer.step()

    return Competitor(model=model, step=step, trained=trained)


Make = Callable[[Workload, Terms], Competitor]
BASELINE = "plain PEFT"
PRIVATE = "ours, private"
COMPETITORS: Mapping[str, Make] = MappingProxyType(
    {
        PRIVATE: ours_private,
        "ours, not private": ours_plain,
        BASELINE: peft,
        "Opacus hooks": hooks,
        "functorch": functorch,
        "ghost": ghost,
    }
)
# Those that clip and noise, and so must give the same clipped sum.
CLIPPING: Sequence[str] = (PRIVATE, "Opacus hooks", "functorch", "ghost")
