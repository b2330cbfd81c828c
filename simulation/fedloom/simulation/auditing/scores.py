"""What a run's adapters tell of each canary: several kinds of evidence, none of which knows a
coin."""

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fedloom.server.evaluator.bench import Bench, plan_bench
from fedloom.server.evaluator.privacy.decoding import Alignment
from fedloom.server.evaluator.statistics import Values
from fedloom.server.evaluator.subject import Candidate, Subject
from fedloom.shared.adapter import Adapter
from fedloom.shared.data.records import Record
from fedloom.shared.plan import Plan
from fedloom.simulation.auditing.gradients import Sketch, changed, gradients
from fedloom.simulation.prepare import Prepared

LOSS = "loss of the final adapter"
ALL_ROUNDS = "gradients, all rounds"
# What the noise is taken to be, as a part of the planned: all of it for a site that keeps its
# promise, less for one whose gradients stand out of it.
_NOISE_PARTS: Mapping[float, str] = {
    1.0: ALL_ROUNDS,
    1e-2: f"{ALL_ROUNDS}, at a tenth of the noise",
    1e-6: f"{ALL_ROUNDS}, at a thousandth of the noise",
}
# A tensor by itself is looked at as if it had no noise at all: if it has none, that shows.
_NOISELESS = 1e-3
# Where PEFT puts the model that it wraps.
_PEFT = "base_model.model."


@dataclass(frozen=True, kw_only=True)
class Known:
    """What an adversary knows: the canaries, and `records` that were trained on for sure, each
    standing for `weight` of them."""

    canaries: Sequence[Record]
    records: Sequence[Record]
    weight: float


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One score for each canary by kind, higher for those likelier put in: of the adapter as a
    `whole`, and of each tensor by its name."""

    whole: Mapping[str, Values]
    by_tensor: Mapping[str, Values]

    @property
    def together(self) -> Mapping[str, Values]:
        """All kinds."""
        return {**self.whole, **self.by_tensor}


def evidence(
    audited: Prepared,
    checkpoint: Callable[[int], Adapter],
    known: Known,
    told: Callable[[str], None],
) -> Evidence:
    """What was released, as scores that know no coin.

    `LOSS` is what anybody has who holds the release: how far the canary's loss fell, less the
    mean of its label. All others are what a coordinator has, who sees each round's adapter:
    the canary's gradients in the adapter's changes between milestones, over all tensors, and in
    each tensor alone under its name. `told` hears of each milestone.

    Raises:
        EvaluationError: a loss is not finite.
    """
    plan = audited.plan
    bench = plan_bench(plan, audited.model, batch_size=audited.config.evaluation.batch_size)
    start, final = checkpoint(0), checkpoint(plan.rounds.total)
    whole = {LOSS: _learned(bench, known.canaries, start, final)}
    by_tensor: dict[str, Values] = {}
    for first, last in pairwise(plan.rounds.milestones):
        seen = _between(plan, bench, known, checkpoint(first), checkpoint(last))
        _add(whole, seen.whole)
        _add(by_tensor, seen.by_tensor)
        told(f"gradients of rounds {first + 1} to {last}")
    return Evidence(whole=whole, by_tensor=by_tensor)


def _add(total: dict[str, Values], scores: Mapping[str, Values]) -> None:
    for name, values in scores.items():
        total[name] = total.get(name, np.zeros_like(values)) + values


def _between(plan: Plan, bench: Bench, known: Known, before: Adapter, after: Adapter) -> Evidence:
    """Evidence from the change between two adapters, by the gradients at the first."""
    moved = changed(before, after)
    if not moved:
        return Evidence(whole={}, by_tensor={})
    sketch = Sketch({name: values.size for name, values in moved.items()})
    scorer = _subject(bench, before).scorer
    rows = gradients(scorer, (*known.canaries, *known.records), list(moved), sketch)
    count = len(known.canaries)
    for values in rows.values():
        values[count:] *= known.weight
    found = {
        name.removeprefix(_PEFT): Alignment.of(rows[name], sketch(name, values))
        for name, values in moved.items()
    }
    together = functools.reduce(operator.add, found.values())
    return Evidence(
        whole={
            name: together.weights(ridge=_ridge(plan) * part, canaries=count)
            for part, name in _NOISE_PARTS.items()
        },
        by_tensor={
            name: alone.weights(ridge=_NOISELESS * alone.energy(count), canaries=count)
            for name, alone in found.items()
        },
    )


def _ridge(plan: Plan) -> float:
    """Variance of the noise in the sites' mean over that of a canary's weight in it.

    A canary adds its clipped gradient at each step with the sample rate, or by its coin not at
    all: a variance of a quarter. Both over the whole run, whose parts are summed up.
    """
    steps = plan.training.steps_through(plan.rounds.total)
    sizes = [
        site.declared_units if plan.aggregation.weights == "declared" else 1 for site in plan.sites
    ]
    weights = [size / sum(sizes) for size in sizes]
    both = list(zip(weights, plan.sites, strict=True))
    noise = sum((weight * site.noise_multiplier) ** 2 for weight, site in both) * steps
    signal = float(np.mean([weight * site.sample_rate * steps for weight, site in both]))
    return 4 * noise / signal**2


def _learned(bench: Bench, canaries: Sequence[Record], start: Adapter, final: Adapter) -> Values:
    fallen = losses(bench, start, canaries) - losses(bench, final, canaries)
    return centred(fallen, [record.label for record in canaries])


def losses(bench: Bench, adapter: Adapter, canaries: Sequence[Record]) -> Values:
    """Of each canary in nats, shape (canaries,).

    Raises:
        BrokenModelError: the model says something that is no number.
    """
    return _subject(bench, adapter).outcomes(canaries).loss


def centred(values: Values, labels: Sequence[int]) -> Values:
    """Values minus the mean of those with the same label: what training did to a label as a whole
    says nothing of a single record."""
    _, groups = np.unique(labels, return_inverse=True)
    means = np.bincount(groups, weights=values) / np.bincount(groups)
    found: Values = values - means[groups]
    return found


def _subject(bench: Bench, adapter: Adapter) -> Subject:
    candidate = Candidate(name="canaries", kind="federation", description="", adapter=adapter)
    return bench.subject(candidate)
