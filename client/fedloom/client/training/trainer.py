"""Local training of one plan's adapter on one site's units."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedloom.client.training.lora_layers import as_peft, fuse_lora
from fedloom.client.training.per_sample import with_grad_samples
from fedloom.client.training.randomness import Stream
from fedloom.client.training.self_check import check_gradients, probe_records
from fedloom.client.training.steps import make_step
from fedloom.client.training.units import MicroBatch, TrainingUnits, micro_batches
from fedloom.shared.adapter import Adapter
from fedloom.shared.data.records import Record
from fedloom.shared.errors import TrainingError
from fedloom.shared.methods import is_lora, trained_layout
from fedloom.shared.model.base import deciding_files, fingerprint
from fedloom.shared.model.lora import attach_lora, live_parameters, read_adapter, write_adapter
from fedloom.shared.plan import Plan, SitePlan
from fedloom.shared.tasks.registry import TASKS


class Trainer:
    """One plan's model, ready to train for any site of that plan.

    Guarantee: with a private plan, `train` is `local_steps` runs of the Poisson-subsampled
    Gaussian mechanism on the privacy units it is given, at the site's sample rate and noise
    multiplier, followed by post-processing. Its result, and nothing else that it does, depends
    on records. Assumes that one row's loss depends on one example alone, which the task
    guarantees, and that the model has no layer across rows, which is checked.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._task = TASKS[plan.task.kind]
        base = self._task.load(folder, plan)
        self._tokenizer = base.tokenizer
        model = attach_lora(base, plan.lora)
        self._parameters = live_parameters(model)
        self._start = read_adapter(self._parameters)
        self.trained = trained_layout(plan.aggregation.method, self._start.layout)
        for name, parameter in self._parameters.items():
            parameter.requires_grad_(name in self.trained.names)
        fuse_lora(model, per_example=plan.privacy.private)
        self._model: nn.Module = with_grad_samples(model) if plan.privacy.private else model
        self._model.train()
        if plan.privacy.private:
            self._check_gradients()

    def load(self, adapter: Adapter) -> None:
        """Start the next `train` from `adapter`.

        Raises:
            WireError: its tensors are not this plan's.
        """
        write_adapter(self._parameters, adapter)
        self._start = adapter

    def encode(
        self, records: Sequence[Record], groups: tuple[tuple[int, ...], ...]
    ) -> TrainingUnits:
        """Token ids of the records, by privacy unit."""
        limit = self._plan.model.max_length
        examples = self._task.encode(records, self._tokenizer, max_length=limit)
        cap = self._plan.privacy.unit_cap
        return TrainingUnits(examples=tuple(examples), groups=groups, cap=cap)

    def train(self, site: SitePlan, units: TrainingUnits, *, stream: Stream) -> NDArray[np.float32]:
        """Run one round; the change of the trained tensors, flat, shape (trained.size,).

        Raises:
            TrainingError: the result is not finite.
        """
        sampling, noise = stream.child("sampling"), stream.child("noise")
        # Dropout, if the plan has any, is the one user of torch's own generator.
        torch.manual_seed(int(stream.child("dropout").uniform(1)[0] * 2**53))
        step = make_step(self._plan, site, self._groups(), noise)
        for _ in range(self._plan.training.local_steps):
            batch = units.sample(rate=site.sample_rate, stream=sampling)
            step.step(micro_batches(batch, size=self._plan.training.micro_batch), self._losses)
        return self._change()

    def _check_gradients(self) -> None:
        names = self.trained.names
        trained = {name: at for name, at in self._parameters.items() if name in names}
        probe = probe_records(len(self._plan.task.labels))
        limit = self._plan.model.max_length
        examples = self._task.encode(probe, self._tokenizer, max_length=limit)
        pieces = [MicroBatch(examples=[at], unit_of=[0], units=1) for at in examples]
        together = MicroBatch(examples=examples, unit_of=[*range(len(examples))], units=len(probe))
        # In bf16 only gross faults stand out from rounding; in fp32 all do.
        for precision in dict.fromkeys(("fp32", self._plan.training.precision)):
            check_gradients(
                trained,
                partial(self._losses_in, precision),
                partial(self._reference_losses, precision),
                together=together,
                alone=pieces,
                precision=precision,
            )
        write_adapter(self._parameters, self._start)

    def _reference_losses(self, precision: str, piece: MicroBatch) -> torch.Tensor:
        with as_peft(self._model):
            return self._losses_in(precision, piece)

    def _losses(self, piece: MicroBatch) -> torch.Tensor:
        return self._losses_in(self._plan.training.precision, piece)

    def _losses_in(self, precision: str, piece: MicroBatch) -> torch.Tensor:
        batch = self._task.collate(piece.examples, self._tokenizer)
        half = precision == "bf16"
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            losses = self._task.losses(self._model, batch)
        # A unit's loss is the mean over its records, so that many records do not mean more say.
        counts = torch.bincount(torch.tensor(piece.unit_of), minlength=piece.units)
        return losses / counts[torch.tensor(piece.unit_of)]

    def _groups(self) -> list[dict[str, object]]:
        training = self._plan.training
        head_rate = training.head_learning_rate or training.learning_rate
        adapters: list[nn.Parameter] = []
        heads: list[nn.Parameter] = []
        for name, parameter in self._parameters.items():
            if name in self.trained.names:
                (adapters if is_lora(name) else heads).append(parameter)
        groups = [(adapters, training.learning_rate), (heads, head_rate)]
        return [{"params": params, "lr": rate} for params, rate in groups if params]

    def _change(self) -> NDArray[np.float32]:
        after = read_adapter(self._parameters).select(self.trained)
        delta: NDArray[np.float32] = after - self._start.select(self.trained)
        if not np.isfinite(delta).all():
            raise TrainingError("training: the update is not finite, expected a lower rate")
        return delta


_Stamp = tuple[tuple[str, int, int, int], ...]


def _stamp(folder: Path) -> _Stamp:
    states = ((path.name, path.stat()) for path in deciding_files(folder))
    return tuple((name, at.st_ino, at.st_size, at.st_mtime_ns) for name, at in states)


class TrainerPool:
    """Trainers and fingerprints of one process, so that a base model is loaded once.

    Keeps the last plan's trainer only: memory does not grow with plans.
    """

    def __init__(self) -> None:
        self._fingerprints: dict[Path, tuple[_Stamp, str]] = {}
        self._trainers: dict[str, Trainer] = {}

    def fingerprint(self, folder: Path) -> str:
        """Fingerprint of a model folder, computed again whenever one of its files changed.

        Raises:
            ModelError: the folder holds no model.
        """
        stamp = _stamp(folder)
        known = self._fingerprints.get(folder)
        if known is None or known[0] != stamp:
            self._trainers = {}
            self._fingerprints[folder] = (stamp, fingerprint(folder))
        return self._fingerprints[folder][1]

    @contextmanager
    def dropped_on_error(self) -> Iterator[None]:
        """Drop the trainers when the block fails.

        A pass that broke off leaves activations and gradients of one site's records in the
        model; the next site must not find them.
        """
        try:
            yield
        except BaseException:
            self._trainers = {}
            raise

    def trainer(self, plan: Plan, folder: Path) -> Trainer:
        """The trainer of `plan` on the model in `folder`.

        Raises:
            ModelError, TrainingError: the model cannot be loaded or cannot train privately.
        """
        key = f"{plan.sha256}/{folder}"
        if key not in self._trainers:
            self._trainers = {key: Trainer(plan, folder)}
        return self._trainers[key]
