"""Gradients of single records, tensor by tensor, in few enough numbers to be kept."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from fedloom.server.evaluator.scorer import Scorer
from fedloom.server.evaluator.statistics import Values
from fedloom.shared.adapter import Adapter
from fedloom.shared.data.records import Record
from fedloom.shared.model.lora import live_parameters
from fedloom.shared.tasks.base import Example, device_of

# Numbers that are kept of each record's gradient: at 2,000 records, half a gigabyte.
_KEPT = 65_536

ByTensor = Mapping[str, Values]


class Sketch:
    """Sums a tensor's elements, under random signs, into at most so many numbers that all
    tensors together have no more than 65,536 (Charikar et al. 2002: a count sketch).

    Linear, and in the mean it keeps inner products; a tensor that is small enough stays whole.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        width = max(1, _KEPT // max(1, len(sizes)))
        generator = np.random.default_rng(0)
        self._maps = {
            name: (generator.integers(width, size=size), generator.choice((-1.0, 1.0), size))
            for name, size in sizes.items()
            if size > width
        }
        self._width = width

    def __call__(self, name: str, values: NDArray[np.float32]) -> Values:
        """What is kept of one tensor, flat."""
        if name not in self._maps:
            return values.ravel().astype(np.float64)
        buckets, signs = self._maps[name]
        kept = np.bincount(buckets, weights=signs * values.ravel(), minlength=self._width)
        return kept.astype(np.float64)


def changed(start: Adapter, final: Adapter) -> Mapping[str, NDArray[np.float32]]:
    """Final minus start of every tensor that is not the same."""
    before, after = start.state(), final.state()
    return {
        name: after[name] - values
        for name, values in before.items()
        if not np.array_equal(after[name], values)
    }


def gradients(
    scorer: Scorer, records: Sequence[Record], names: Sequence[str], sketch: Sketch
) -> ByTensor:
    """Of each record's loss at the adapter that the model holds, each record's of norm 1 over all
    of `names`; by tensor, shape (records, kept numbers)."""
    rows: dict[str, list[Values]] = {name: [] for name in names}
    for gradient in _one_by_one(scorer, records, names):
        norm = float(np.sqrt(sum(float((values**2).sum()) for values in gradient.values())))
        for name, values in gradient.items():
            rows[name].append((sketch(name, values) / max(norm, 1e-12)).astype(np.float32))
    return {name: np.stack(found) for name, found in rows.items()}


def _one_by_one(
    scorer: Scorer, records: Sequence[Record], names: Sequence[str]
) -> Iterator[Mapping[str, NDArray[np.float32]]]:
    live = live_parameters(scorer.model)
    parameters = [live[name] for name in names]
    for example in scorer.encode(records):
        found = torch.autograd.grad(_loss(scorer, example), parameters, allow_unused=True)
        yield {
            name: _plain(gradient, parameter)
            for name, gradient, parameter in zip(names, found, parameters, strict=True)
        }


def _loss(scorer: Scorer, example: Example) -> torch.Tensor:
    batch = scorer.task.collate([example], scorer.tokenizer).to(device_of(scorer.model))
    return scorer.task.losses(scorer.model, batch).sum()


def _plain(gradient: torch.Tensor | None, parameter: torch.Tensor) -> NDArray[np.float32]:
    if gradient is None:
        return np.zeros(tuple(parameter.shape), dtype=np.float32)
    found: NDArray[np.float32] = gradient.detach().float().cpu().numpy()
    return found
