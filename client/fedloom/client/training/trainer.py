"""Local training of one plan's adapter on one site's units."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fedloom.client.training.device import DeviceChoice
from fedloom.client.training.hidden_states import Hidden, HiddenStates
from fedloom.client.training.mitigation import mitigated
from fedloom.client.training.passed_checks import PassedChecks, surroundings
from fedloom.client.training.pieces import ClipGroup, MicroBatch, clip_groups
from fedloom.client.training.randomness import Stream
from fedloom.client.training.rows import PLAIN, DrawnUnit, RecordRows
from fedloom.client.training.schedules import rate_factor
from fedloom.client.training.steps import Losses, make_step
from fedloom.client.training.trained_model import TrainedModel
from fedloom.client.training.units import TrainingUnits
from fedloom.shared.adapter import Adapter, AdapterLayout
from fedloom.shared.data.records import Record
from fedloom.shared.phases import phase_in
from fedloom.shared.plan import Plan, SitePlan
from fedloom.shared.tasks.base import Example


class Trainer:
    """One plan's model in one phase, ready to train for any site and any round of it.

    Guarantee: with a private plan, `train` is `phase.local_steps` runs of the Poisson-subsampled
    Gaussian mechanism on the privacy units it is given, at the site's sample rate and noise
    multiplier, followed by post-processing. Its result, and nothing else that it does, depends
    on records; what `right` says of them is for who adds noise to it. Assumes that one row's
    loss depends on one example alone, which the task guarantees, and that the model has no
    layer across rows, which is checked. A plan's mitigation changes none of it (`RecordRows`).
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        round_number: int = 1,
        *,
        device: DeviceChoice = "cpu",
        checks: PassedChecks | None = None,
    ) -> None:
        self._plan = plan
        self.phase = phase_in(plan, round_number)
        self._model = TrainedModel(plan, folder, self.phase, device=device, checks=checks)

    @property
    def trained(self) -> AdapterLayout:
        """The tensors that an update of this phase has."""
        return self._model.trained

    @property
    def start(self) -> Adapter:
        """The adapter that was loaded last; at first the one that the plan begins with."""
        return self._model.start

    def load(self, adapter: Adapter) -> None:
        """Start the next `train` from `adapter`.

        Raises:
            WireError: its tensors are not this plan's.
        """
        self._model.load(adapter)

    def encode(
        self, records: Sequence[Record], groups: tuple[tuple[int, ...], ...]
    ) -> TrainingUnits:
        """Token ids of the records as they are, by privacy unit."""
        return self._units(self._encoded(records), groups)

    def encode_to_train(
        self, records: Sequence[Record], groups: tuple[tuple[int, ...], ...]
    ) -> TrainingUnits:
        """The same with the copies and weights that the plan's mitigation gives them."""
        examples, rows = mitigated(records, self._plan.mitigation, self._encoded)
        return self._units(examples, groups, rows)

    def _encoded(self, records: Sequence[Record]) -> list[Example]:
        limit = self._plan.model.max_length
        return self._model.task.encode(records, self._model.tokenizer, max_length=limit)

    def _units(
        self,
        examples: Sequence[Example],
        groups: tuple[tuple[int, ...], ...],
        rows: RecordRows = PLAIN,
    ) -> TrainingUnits:
        cap = self._plan.privacy.unit_cap
        return TrainingUnits(examples=tuple(examples), groups=groups, cap=cap, rows=rows)

    @property
    def prefix_name(self) -> str | None:
        """A hash over all that the frozen part's states depend on but the examples; or None."""
        prefix = self._model.prefix
        if prefix is None:
            return None
        plan = self._plan
        sections = (part.model_dump_json() for part in (plan.model, plan.task, plan.lora))
        own = (prefix.place, self._model.passes.precision, self._model.frozen.sha256)
        around = json.dumps(surroundings(self._model.device), sort_keys=True)
        return hashlib.sha256("\n".join((*sections, *own, around)).encode()).hexdigest()

    def hidden_states(
        self, examples: Sequence[Example], folder: Path, *, expected: int, max_bytes: int
    ) -> HiddenStates | None:
        """What the model's frozen part gives for these examples, from `folder` or computed now.

        None if nothing is frozen below what trains, or if `expected` records, all as long as they
        may be, would take more than `max_bytes`: by what the records themselves take, one of
        them could decide how all are rounded. It changes the speed of `train`, and
        of its result only the rounding.
        """
        prefix = self._model.prefix
        if prefix is None or not examples:
            return None
        capture = partial(self._model.passes.captured, prefix)
        first = capture(next(self._one_by_one(examples[:1])))
        if expected * first.bytes_of(self._plan.model.max_length) > max_bytes:
            return None
        path = folder / f"hidden-{self._states_name(examples)}.states"
        states = HiddenStates(path, examples, first)
        if not states.open():
            states.fill(self._one_by_one(examples), capture)
            states.open()
        return states

    def train(
        self,
        site: SitePlan,
        units: TrainingUnits,
        *,
        stream: Stream,
        hidden: Hidden | None = None,
        round_number: int = 1,
    ) -> NDArray[np.float32]:
        """Run one round; the change of the trained tensors, flat, shape (trained.size,).

        Raises:
            ValueError: the round is of another phase.
        """
        sampling, noise = stream.child("sampling"), stream.child("noise")
        # Dropout, if the plan has any, is the one user of torch's own generator.
        torch.manual_seed(int(stream.child("dropout").uniform(1)[0] * 2**53))
        step = make_step(self._plan, site, self._groups(), noise)
        losses = self._losses(hidden)
        examples = units.examples if hidden is None else hidden.shortened(units.examples)
        for number in range(self.phase.local_steps):
            factor = self._rate_factor(self.phase.step_number(round_number, number))
            batch = units.sample(rate=site.sample_rate, stream=sampling)
            step.step(self._cut(batch, examples, units.rows), losses, factor=factor)
        return self._model.change()

    def right(self, examples: Sequence[Example]) -> list[bool]:
        """Whether the adapter as it is now is right about each example; it stays as it is."""
        return self._model.passes.right(examples)

    def _losses(self, hidden: Hidden | None) -> Losses:
        passes, prefix = self._model.passes, self._model.prefix
        if hidden is None or prefix is None:
            return passes.losses
        return partial(passes.replayed, prefix, hidden)

    def _cut(
        self, batch: Sequence[DrawnUnit], examples: Sequence[Example], rows: RecordRows
    ) -> Iterator[ClipGroup]:
        tokens = self._plan.training.micro_tokens
        return clip_groups(batch, examples, max_tokens=tokens, records=rows)

    def _one_by_one(self, examples: Sequence[Example]) -> Iterator[MicroBatch]:
        each = [(at,) for at in range(len(examples))]
        return (piece for group in self._cut(each, examples, PLAIN) for piece in group)

    def _states_name(self, examples: Sequence[Example]) -> str:
        digest = hashlib.sha256(str(self.prefix_name).encode())
        for example in examples:
            digest.update(len(example.tokens).to_bytes(4, "big"))
            digest.update(np.array(example.tokens, dtype=">i8").tobytes())
        return digest.hexdigest()

    def _rate_factor(self, step: int) -> float:
        training = self._plan.training
        steps, warmup = self.phase.steps, training.warmup
        return rate_factor(training.schedule, step=step, steps=steps, warmup=warmup)

    def _groups(self) -> list[dict[str, object]]:
        training = self._plan.training
        head_rate = training.head_learning_rate or training.learning_rate
        adapters = self._model.trained_parameters(lora=True)
        heads = self._model.trained_parameters(lora=False)
        groups = [(adapters, training.learning_rate), (heads, head_rate)]
        return [{"params": params, "lr": rate} for params, rate in groups if params]
