"""A site's round, with all of training's speed switches, with one of them off, and by Opacus."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import nn

from benchmarks.common import Work
from fedloom.client.training.hidden_states import Hidden
from fedloom.client.training.pieces import ClipGroup, MicroBatch
from fedloom.client.training.randomness import Stream
from fedloom.client.training.rows import DrawnUnit, RecordRows
from fedloom.client.training.steps import OPTIMIZERS
from fedloom.client.training.trained_model import TrainedModel
from fedloom.client.training.trainer import Trainer
from fedloom.client.training.units import TrainingUnits
from fedloom.shared.data.records import Record, group_by_unit
from fedloom.shared.model.base import Tokenizer
from fedloom.shared.model.lora import attach_lora, live_parameters, read_adapter, write_adapter
from fedloom.shared.plan import Plan
from fedloom.shared.tasks.base import Batch, Example, Task, padded
from fedloom.shared.tasks.registry import make_task

# The same draws for all, so that all train on the same records.
_KEY = b"benchmark".ljust(32, b".")
_NO_LIMIT = 10**12


@dataclass(frozen=True, kw_only=True)
class Site:
    """One site of a plan, its records to train on, and the model's folder."""

    plan: Plan
    name: str
    records: tuple[Record, ...]
    model: Path

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        return group_by_unit(list(self.records), unit=self.plan.privacy.unit)

    def drawn(self) -> int:
        """Records that a round's draws have."""
        units = TrainingUnits(examples=(), groups=self.groups, cap=self.plan.privacy.unit_cap)
        return sum(len(unit) for batch in self.batches(units) for unit in batch)

    def batches(self, units: TrainingUnits) -> Iterator[list[DrawnUnit]]:
        """What `Trainer.train` draws under `_KEY`."""
        rate, stream = self.plan.site(self.name).sample_rate, Stream(_KEY).child("sampling")
        for _ in range(self.plan.training.local_steps):
            yield units.sample(rate=rate, stream=stream)


@dataclass(frozen=True, kw_only=True)
class Switches:
    """Which of the speed switches are on; `fp32` in the plan leaves nothing to switch on."""

    half: bool = True
    bucketed: bool = True
    kept_states: bool = True
    fused: bool = True


ALL_ON = "all switches"
WAYS: Mapping[str, Switches] = MappingProxyType(
    {
        ALL_ON: Switches(),
        "without bf16": Switches(half=False),
        "without length buckets": Switches(bucketed=False),
        "without kept hidden states": Switches(kept_states=False),
        "without fused layers": Switches(fused=False),
    }
)
HOOKS = "Opacus hooks, padded, fp32"
FILLING = "filling the hidden states, once a run"


def fedloom_round(site: Site, switches: Switches) -> Work:
    """`Trainer.train` itself, with what is switched off patched away; gives the update."""
    trainer, units = _trainer(site, switches)
    hidden = _hidden(trainer, units) if switches.kept_states else None
    at = site.plan.site(site.name)

    def train() -> NDArray[np.float32]:
        with ExitStack() as undo:
            if not switches.bucketed:
                undo.enter_context(patch(f"{Trainer.__module__}.clip_groups", _as_drawn))
            trainer.load(trainer.start)
            return trainer.train(at, units, stream=Stream(_KEY), hidden=hidden)

    return train


def filling(site: Site) -> Work:
    """Computing the hidden states of all of the site's records."""
    trainer, units = _trainer(site, Switches())
    return lambda: _hidden(trainer, units)


def hooks_round(site: Site) -> Work:
    """The same round by Opacus' hooks on PEFT: fp32, rows padded to their batch's longest;
    gives the update."""
    plan = site.plan
    task = make_task(plan.task)
    base = task.load(site.model, seed=plan.lora.init_seed)
    model = attach_lora(base, plan.lora).train()
    trained = live_parameters(model)
    start = read_adapter(trained)
    whole = GradSampleModule(model, strict=False, loss_reduction="sum")
    optimizer = _optimizer_of_opacus(site, trained.values())
    examples = task.encode(site.records, base.tokenizer, max_length=plan.model.max_length)
    units = TrainingUnits(examples=tuple(examples), groups=site.groups, cap=plan.privacy.unit_cap)

    def train() -> NDArray[np.float32]:
        write_adapter(trained, start)
        for batch in site.batches(units):
            rows = [examples[at] for unit in batch for at in unit]
            pieces = list(_padded_alike(task, rows, base.tokenizer, plan.training.micro_tokens))
            for number, piece in enumerate(pieces, start=1):
                optimizer.signal_skip_step(do_skip=number < len(pieces))
                torch.autograd.backward(task.losses(whole, piece).sum())
                optimizer.step()
                optimizer.zero_grad()
        after: NDArray[np.float32] = read_adapter(trained).select(start.layout)
        return after - start.select(start.layout)

    return train


def _optimizer_of_opacus(site: Site, trained: Iterable[nn.Parameter]) -> DPOptimizer:
    training = site.plan.training
    groups: list[dict[str, object]] = [{"params": list(trained), "lr": training.learning_rate}]
    return DPOptimizer(
        OPTIMIZERS[training.optimizer](groups, training.momentum),
        noise_multiplier=site.plan.site(site.name).noise_multiplier,
        max_grad_norm=site.plan.privacy.clip_norm,
        expected_batch_size=training.expected_batch_size,
    )


def _padded_alike(
    task: Task, rows: Sequence[Example], tokenizer: Tokenizer, max_tokens: int
) -> Iterator[Batch]:
    """Pieces of one length, that of the longest of all `rows`."""
    longest = padded(max(len(row.tokens) for row in rows))
    count = max(1, max_tokens // longest)
    for start in range(0, len(rows), count):
        piece = rows[start : start + count]
        filler = Example(tokens=(0,) * longest, label=0)
        # Padded beside a row of the wanted length, which is then taken away.
        whole = task.collate([filler, *piece], tokenizer)
        inputs = {name: values[1:] for name, values in whole.inputs.items()}
        yield Batch(inputs=inputs, labels=whole.labels[1:])


def _trainer(site: Site, switches: Switches) -> tuple[Trainer, TrainingUnits]:
    plan = site.plan
    if not switches.half:
        training = plan.training.model_copy(update={"precision": "fp32"})
        plan = plan.model_copy(update={"training": training})
    with ExitStack() as undo:
        if not switches.fused:
            undo.enter_context(patch(f"{TrainedModel.__module__}.fuse_lora", _unfused))
        trainer = Trainer(plan, site.model)
    return trainer, trainer.encode(site.records, site.groups)


def _hidden(trainer: Trainer, units: TrainingUnits) -> Hidden | None:
    folder = Path(tempfile.mkdtemp(prefix="fedloom-benchmark-"))
    try:
        # The mapped file stays readable once it has lost its name.
        return trainer.hidden_states(units.examples, folder, expected=10, max_bytes=_NO_LIMIT)
    finally:
        shutil.rmtree(folder)


def _unfused(_model: nn.Module, *, per_example: bool) -> None:
    """In the place of `fuse_lora`: PEFT's own layers, whose gradients Opacus' hooks take."""


def _as_drawn(
    batch: Sequence[DrawnUnit],
    examples: Sequence[Example],
    *,
    max_tokens: int,
    records: RecordRows,
) -> Iterator[ClipGroup]:
    """In the place of `clip_groups`: rows in the order drawn, padded to their batch's longest.

    For records as units, without copies: one row each, whatever `records` says.
    """
    rows = [at for unit in batch for at in unit]
    longest = padded(max(len(examples[at].tokens) for at in rows))
    count = max(1, max_tokens // longest)
    for start in range(0, len(rows), count):
        some = rows[start : start + count]
        yield [
            MicroBatch(
                indices=tuple(some),
                examples=tuple(examples[at] for at in some),
                unit_of=tuple(range(len(some))),
                shares=(1.0,) * len(some),
                units=len(some),
            )
        ]
