"""One optimizer step, private or plain, behind one protocol."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Protocol

import torch

from fedloom.client.training.clipping import CLIPPINGS
from fedloom.client.training.optimizer import SecureDPOptimizer
from fedloom.client.training.per_sample import add_finite, gather_units
from fedloom.client.training.pieces import ClipGroup, MicroBatch
from fedloom.client.training.randomness import Stream
from fedloom.shared.plan import Plan, SitePlan

Losses = Callable[[MicroBatch], torch.Tensor]


class StepRule(Protocol):
    """Moves the trained parameters once, by one batch given in groups (possibly none)."""

    def step(self, groups: Iterable[ClipGroup], losses: Losses, *, factor: float = 1.0) -> None:
        """`losses` gives one loss per example, each a unit's mean share, shape (examples,).

        Learning rates are `factor` times those that the optimizer was made with.
        """


class PrivateStep:
    """A DP-SGD step (Abadi et al. 2016).

    Guarantee: that of `SecureDPOptimizer`, for a whole privacy unit: a unit's examples are
    summed into one row before clipping. An empty batch still adds noise and steps.
    """

    def __init__(self, optimizer: SecureDPOptimizer) -> None:
        self._optimizer = optimizer

    def step(self, groups: Iterable[ClipGroup], losses: Losses, *, factor: float = 1.0) -> None:
        """Accumulate clipped sums over the groups, then noise and step once."""
        _set_rates(self._optimizer, factor)
        self._optimizer.zero_grad()
        for group in groups:
            self._sum_units(group, losses)
            self._optimizer.signal_skip_step(do_skip=True)
            self._optimizer.step()
            self._optimizer.zero_grad()
        for parameter in self._optimizer.params:
            parameter.grad_sample = parameter.new_zeros((0, *parameter.shape))
        self._optimizer.signal_skip_step(do_skip=False)
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _sum_units(self, group: ClipGroup, losses: Losses) -> None:
        """Leave one row a unit in `grad_sample`, summed over the group's pieces."""
        sums: dict[torch.Tensor, torch.Tensor] = {}
        for piece in group:
            torch.autograd.backward(losses(piece).sum())
            unit_of = torch.tensor(piece.unit_of, device=self._optimizer.params[0].device)
            for parameter in self._optimizer.params:
                rows = gather_units(parameter.grad_sample, unit_of, piece.units)
                sums[parameter] = add_finite(sums[parameter], rows) if parameter in sums else rows
                parameter.grad_sample = None
        for parameter, rows in sums.items():
            parameter.grad_sample = rows  # type: ignore[attr-defined]


class PlainStep:
    """An ordinary step on the same batches, for the comparison without privacy."""

    def __init__(self, optimizer: torch.optim.Optimizer, *, expected_batch_size: int) -> None:
        self._optimizer = optimizer
        self._expected_batch_size = expected_batch_size

    def step(self, groups: Iterable[ClipGroup], losses: Losses, *, factor: float = 1.0) -> None:
        """Accumulate gradients over the groups and step once."""
        _set_rates(self._optimizer, factor)
        self._optimizer.zero_grad(set_to_none=False)
        for piece in chain.from_iterable(groups):
            torch.autograd.backward(losses(piece).sum() / self._expected_batch_size)
        self._optimizer.step()


def _set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = factor * group.setdefault("full_rate", group["lr"])


OptimizerMaker = Callable[[list[dict[str, object]], float], torch.optim.Optimizer]


def _sgd(groups: list[dict[str, object]], momentum: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, momentum=momentum)


def _adam(groups: list[dict[str, object]], momentum: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, betas=(momentum, 0.999))


OPTIMIZERS: Mapping[str, OptimizerMaker] = MappingProxyType({"sgd": _sgd, "adam": _adam})


def make_step(
    plan: Plan, site: SitePlan, groups: Sequence[dict[str, object]], stream: Stream
) -> StepRule:
    """The step rule that the plan asks for, over parameter `groups`."""
    optimizer = OPTIMIZERS[plan.training.optimizer](list(groups), plan.training.momentum)
    expected = plan.training.expected_batch_size
    if not plan.privacy.private:
        return PlainStep(optimizer, expected_batch_size=expected)
    return PrivateStep(
        SecureDPOptimizer(
            optimizer,
            noise_multiplier=site.noise_multiplier,
            max_grad_norm=plan.privacy.clip_norm,
            expected_batch_size=expected,
            stream=stream,
            rescale=CLIPPINGS[plan.privacy.clipping],
        )
    )
