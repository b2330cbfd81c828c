"""The model of one plan, wrapped for training and checked."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedloom.client.training.device import DeviceChoice, choose_device
from fedloom.client.training.hidden_states import Given
from fedloom.client.training.lora_layers import fuse_lora, without_dropout
from fedloom.client.training.lowered import lower_frozen
from fedloom.client.training.passed_checks import PassedChecks
from fedloom.client.training.passes import Passes
from fedloom.client.training.per_sample import with_grad_samples
from fedloom.client.training.pieces import MicroBatch
from fedloom.client.training.prefix import FrozenPrefix
from fedloom.client.training.self_check import (
    Probe,
    Singles,
    check_gradients,
    check_the_check,
    randomise,
    same_losses,
    single_gradients,
)
from fedloom.shared.adapter import Adapter
from fedloom.shared.methods import is_lora
from fedloom.shared.model.lora import attach_lora, live_parameters, read_adapter, write_adapter
from fedloom.shared.phases import Phase
from fedloom.shared.plan import Plan
from fedloom.shared.tasks.registry import load_base, make_task

logger = logging.getLogger("fedloom.site")


class TrainedModel:
    """Base model, adapter and head, of which those tensors are trained that `phase` trains.

    Guarantee: for a private plan, per-sample gradients are those of single records, checked on
    this very model before anything else, unless `checks` holds that it passed; what cannot be
    trained so is refused.

    Raises:
        ModelError, TrainingError: the model cannot be loaded, or cannot train privately.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        phase: Phase,
        *,
        device: DeviceChoice = "cpu",
        checks: PassedChecks | None = None,
    ) -> None:
        self.task = make_task(plan.task)
        base = load_base(plan, folder)
        self.tokenizer = base.tokenizer
        model = attach_lora(base, plan.lora).to(choose_device(device))
        self._parameters = live_parameters(model)
        self.start = read_adapter(self._parameters)
        self.trained = phase.layout(self.start.layout)
        for name, parameter in self._parameters.items():
            parameter.requires_grad_(name in self.trained.names)
        fuse_lora(model, per_example=plan.privacy.private)
        whole: nn.Module = with_grad_samples(model) if plan.privacy.private else model
        self._model = whole.train()
        self.passes = self._passes(plan.training.precision)
        probe = Probe.of(self.task, self.tokenizer, plan)
        randomise(self._trained_by_name())
        at = choose_device(device)
        unchecked = plan.privacy.private and not (checks and checks.holds(plan, phase, at))
        with without_dropout(whole):
            exact = self._check_in_full(probe) if unchecked else {}
            self.prefix = self._usable_prefix(probe)
            if self.passes.precision == "bf16":
                lower_frozen(whole, torch.bfloat16, but=self._parameters.values())
                if unchecked:
                    self._check_as_trained(probe, exact)
        if unchecked and checks:
            checks.keep(plan, phase, at)
        write_adapter(self._parameters, self.start)

    def load(self, adapter: Adapter) -> None:
        """Set all of the adapter's values.

        Raises:
            WireError: its tensors are not this plan's.
        """
        write_adapter(self._parameters, adapter)
        self.start = adapter

    def change(self) -> NDArray[np.float32]:
        """What training changed since `load`, flat, shape (trained.size,), all of it finite.

        A value that left the range of numbers counts as no change. To fail instead would tell
        the server where noised values lie, and let it try again.
        """
        after = read_adapter(self._parameters).select(self.trained)
        delta: NDArray[np.float32] = after - self.start.select(self.trained)
        lost = np.count_nonzero(~np.isfinite(delta))
        if lost:
            logger.warning("training: %d values are not finite, expected a lower rate", lost)
        return np.nan_to_num(delta, nan=0.0, posinf=0.0, neginf=0.0)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self._model.parameters()).device

    @property
    def frozen(self) -> Adapter:
        """What was loaded of the adapter and does not train."""
        whole = self.start.layout
        rest = whole.select(whole.names - self.trained.names)
        return Adapter(layout=rest, flat=self.start.select(rest))

    def trained_parameters(self, *, lora: bool) -> list[nn.Parameter]:
        """Those of the LoRA layers, or those of the head."""
        trained = self._trained_by_name()
        return [parameter for name, parameter in trained.items() if is_lora(name) == lora]

    def _trained_by_name(self) -> dict[str, nn.Parameter]:
        names = self.trained.names
        return {name: at for name, at in self._parameters.items() if name in names}

    def _passes(self, precision: str) -> Passes:
        return Passes(self._model, self.task, self.tokenizer, precision)

    def _check_in_full(self, probe: Probe) -> Singles:
        """In fp32, where any fault stands out; the gradients that are right."""
        trained, full = self._trained_by_name(), self._passes("fp32")
        exact = single_gradients(trained, full.reference, probe)
        check_gradients(trained, full.losses, probe, singles=exact, exact=exact)
        check_the_check(trained, full.losses, probe, exact)
        return exact

    def _check_as_trained(self, probe: Probe, exact: Singles) -> None:
        """In bf16 only gross faults stand out from rounding; in fp32 all have."""
        trained = self._trained_by_name()
        singles = single_gradients(trained, self.passes.reference, probe)
        check_gradients(trained, self.passes.losses, probe, singles=singles, exact=exact)

    def _usable_prefix(self, probe: Probe) -> FrozenPrefix | None:
        """The cut, if replaying gives what the whole model gives."""
        passes = self._passes("fp32")
        prefix = passes.prefix(probe.together)
        if prefix is None:
            return None
        given = Given(passes.captured(prefix, probe.together))

        def replayed(piece: MicroBatch) -> torch.Tensor:
            short = replace(piece, examples=given.shortened(piece.examples))
            return passes.replayed(prefix, given, short)

        return prefix if same_losses(passes.losses, replayed, probe) else None
