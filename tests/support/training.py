"""Plans, units and trainers for tests of local training, and a naive DP-SGD to compare with."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from fedloom.client.training.randomness import Stream
from fedloom.client.training.trainer import Trainer
from fedloom.client.training.units import TrainingUnits
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.privacy import PrivacyTerms
from fedloom.shared.config.sections import LoraSection, TaskSection
from fedloom.shared.config.training import TrainingSection
from fedloom.shared.data.records import Record, group_by_unit
from fedloom.shared.model.base import Tokenizer, fingerprint
from fedloom.shared.model.lora import attach_lora, live_parameters, write_adapter
from fedloom.shared.plan import AggregationPlan, ModelPlan, Plan, RoundsPlan, SitePlan
from fedloom.shared.tasks.base import Batch, Example, Task
from fedloom.shared.tasks.registry import load_base, make_task
from tests.support.tiny import sentences

LABELS = ("negative", "positive")


def site_plan(*, noise: float = 1.0, rate: float = 1.0, units: int = 100) -> SitePlan:
    return SitePlan(
        name="north",
        declared_units=units,
        sample_rate=rate,
        noise_multiplier=noise,
        steps=1,
        epsilon=1.0,
    )


def make_plan(
    model: Path,
    *,
    clip_norm: float = 1.0,
    steps: int = 1,
    batch: int = 1,
    rate: float = 1.0,
    method: str = "fedit",
    mode: str = "dp-sgd",
    unit: str = "record",
    micro_tokens: int = 7 * 32,
    cap: int = 10_000,
    targets: tuple[str, ...] = ("query", "value"),
    head_rounds: int = 0,
    clipping: str = "flat",
    site: SitePlan | None = None,
    seed: int | None = 3,
    task: TaskSection | None = None,
) -> Plan:
    """A plan whose one step of plain SGD shows the summed gradient itself when rate is 1."""
    privacy = {"unit": unit, "unit_cap": cap, "noise_seed": seed}
    if mode == "dp-sgd":
        privacy |= {"noise_multiplier": 1.0, "clip_norm": clip_norm, "clipping": clipping}
    return Plan(
        name="test",
        model=ModelPlan(name="tiny", sha256=fingerprint(model), max_length=32),
        task=task or TaskSection(labels=LABELS),
        lora=LoraSection(rank=4, targets=targets),
        privacy=PrivacyTerms(mode=mode, **privacy),
        training=TrainingSection(
            local_steps=steps,
            head_rounds=head_rounds,
            expected_batch_size=batch,
            optimizer="sgd",
            momentum=0.0,
            learning_rate=rate,
            micro_tokens=micro_tokens,
            precision="fp32",
        ),
        aggregation=AggregationPlan(method=method, weights="uniform", max_update_norm=100.0),
        rounds=RoundsPlan(total=max(1, head_rounds), quorum=1, deadline_seconds=60.0),
        sites=(site or site_plan(),),
    )


def records(count: int, *, seed: int = 0, unit: str | None = None) -> list[Record]:
    rows = sentences(count, seed=seed)
    return [
        Record(
            text=row["text"],
            label=LABELS.index(row["label"]),
            unit=unit or row["author"],
        )
        for row in rows
    ]


def units_of(trainer: Trainer, rows: list[Record], *, unit: str = "record") -> TrainingUnits:
    return trainer.encode(rows, group_by_unit(rows, unit=unit))


def no_units() -> TrainingUnits:
    return TrainingUnits(examples=(), groups=(), cap=1)


def fixed_stream(label: str = "test") -> Stream:
    return Stream(label.encode().ljust(32, b".")[:32])


def warmed(trainer: Trainer, plan: Plan, model: Path) -> Adapter:
    """A starting adapter with no zero tensors, so that every gradient is alive."""
    base = load_base(plan, model)
    live = live_parameters(attach_lora(base, plan.lora))
    generator = np.random.default_rng(5)
    state = {
        name: (0.3 * generator.standard_normal(tuple(p.shape))).astype(np.float32)
        for name, p in live.items()
    }
    adapter = Adapter.from_state(state)
    trainer.load(adapter)
    return adapter


def naive_clipped_sum(
    plan: Plan,
    model: Path,
    adapter: Adapter,
    groups: Sequence[Sequence[Record]],
    names: Sequence[str],
    *,
    shares: Sequence[Sequence[float]] | None = None,
) -> tuple[NDArray[np.float64], list[float]]:
    """DP-SGD's sum computed one record at a time with plain autograd: no Opacus, no padding.

    `shares` say what each record of each group counts for; one over the group's size if left out.
    Returns the sum of clipped unit gradients, flat over `names`, and the norms before clipping.
    """
    task = make_task(plan.task)
    base = task.load(model, seed=plan.lora.init_seed)
    tuned = attach_lora(base, plan.lora).train()
    live = live_parameters(tuned)
    write_adapter(live, adapter)
    for name, parameter in live.items():
        parameter.requires_grad_(name in names)
    total = np.zeros(sum(live[name].numel() for name in names))
    norms = []
    for at, group in enumerate(groups):
        unit = np.zeros_like(total)
        own = shares[at] if shares else [1 / len(group)] * len(group)
        for record, share in zip(group, own, strict=True):
            ids = base.tokenizer([record.text], truncation=True, max_length=32)["input_ids"]
            tuned.zero_grad()
            logits = tuned(input_ids=torch.tensor(ids)).logits
            if plan.task.pooling == "mean":
                logits = logits.mean(dim=1)
            cross_entropy(logits, torch.tensor([record.label])).backward()
            grads = [live[name].grad.double().numpy().ravel() for name in names]
            unit += np.concatenate(grads) * share
        norms.append(float(np.linalg.norm(unit)))
        total += unit * _clip_factor(plan, norms[-1])
    return total, norms


def _clip_factor(plan: Plan, norm: float) -> float:
    bound = plan.privacy.clip_norm
    return bound / (norm + 0.01) if plan.privacy.clipping == "automatic" else min(1, bound / norm)


def shapes_of_rows(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> Counter[object]:
    """Filled while something trains: each row with the shape of the batch that it was in.

    How a row rounds follows from that shape, whether this processor's bf16 shows it or not.
    """
    kind, seen = type(make_task(plan.task)), Counter[object]()
    collate = kind.collate

    def noted(task: Task, examples: Sequence[Example], tokenizer: Tokenizer) -> Batch:
        batch = collate(task, examples, tokenizer)
        at = (tuple(batch.inputs["input_ids"].shape), tuple(batch.labels.shape))
        seen.update((example.tokens, example.answer, at) for example in examples)
        return batch

    monkeypatch.setattr(kind, "collate", noted)
    return seen


def check_alone_in_its_batch(
    trained: Callable[[list[Record]], NDArray[np.float64]],
    odd: Record,
    rows: list[Record],
    seen: Counter[object],
) -> None:
    """What `trained` gives moves by the odd record's clipped gradient, of norm 1, and no other row
    is in a batch of another shape because of it."""
    both, found = trained([odd, *rows]), seen.copy()
    seen.clear()
    without, alone = trained(rows), seen.copy()
    assert abs(np.linalg.norm(both - without) - 1) <= 1e-5
    assert alone.total() >= len(rows), "rows are collated elsewhere, and this sees nothing"
    assert alone <= found and found.total() == alone.total() + 1
