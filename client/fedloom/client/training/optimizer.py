"""Opacus' DPOptimizer with noise from a cryptographic stream."""

import torch
from opacus.optimizers import DPOptimizer

from fedloom.client.training.clipping import Rescale, flat
from fedloom.client.training.randomness import Stream


class SecureDPOptimizer(DPOptimizer):  # type: ignore[misc]
    """Rescales and clips per unit, sums, adds noise, divides by the expected batch size, steps.

    Guarantee: each step that is not skipped releases, over all trained tensors together, the
    Gaussian mechanism of L2 sensitivity `max_grad_norm` and standard deviation
    `noise_multiplier * max_grad_norm`, in a fresh draw for every coordinate of every tensor.
    The unit is what one row of `grad_sample` belongs to; the relation is adding or removing
    one row. Assumes that rows do not depend on each other.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        noise_multiplier: float,
        max_grad_norm: float,
        expected_batch_size: int,
        stream: Stream,
        rescale: Rescale = flat,
    ) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=max_grad_norm,
            expected_batch_size=expected_batch_size,
            loss_reduction="mean",
        )
        self._stream = stream
        self._rescale = rescale

    def clip_and_accumulate(self) -> None:
        """Rescale, then clip and sum as Opacus does: the bound holds whatever `rescale` does."""
        rows = self.grad_samples
        if len(rows[0]):
            self._rescale(rows, self.max_grad_norm)
        super().clip_and_accumulate()

    def add_noise(self) -> None:
        """Noise every summed gradient; the draw replaces Opacus' global generator."""
        deviation = self.noise_multiplier * self.max_grad_norm
        for parameter in self.params:
            draw = self._stream.normal(parameter.numel()) * deviation
            noise = torch.from_numpy(draw).view_as(parameter).to(parameter.device)
            noised = parameter.summed_grad.double() + noise
            parameter.grad = noised.to(parameter.dtype)
