"""Gradients of single records, tensor by tensor, in few enough numbers to be kept."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.scorer import Scorer
from fedloom.server.evaluator.statistics import Values
from fedloom.shared.adapter import Adapter
from fedloom.shared.data.records import Record
from fedloom.shared.model.lora import live_parameters
from fedloom.simulation.auditing.per_record import per_record

# Numbers that are kept of each record's gradient: at 2,000 records, half a gigabyte.
_KEPT = 65_536
# Records whose gradients are held whole at once.
_BATCH = 32

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
    of `names`; by tensor, shape (records, kept numbers), rows in the order of `records`."""
    live = live_parameters(scorer.model)
    parameters = {name: live[name] for name in names}
    examples = scorer.encode(records)
    # Similar lengths together: less padding.
    order = sorted(range(len(examples)), key=lambda at: examples[at].bucket)
    batches = (order[start : start + _BATCH] for start in range(0, len(order), _BATCH))
    parts = [
        _of_norm_1(per_record(scorer, parameters, [examples[at] for at in places]), sketch)
        for places in batches
    ]
    back = np.argsort(order)
    return {name: np.concatenate([part[name] for part in parts])[back] for name in names}


def _of_norm_1(found: Mapping[str, NDArray[np.float32]], sketch: Sketch) -> ByTensor:
    flat = {name: values.reshape(len(values), -1) for name, values in found.items()}
    norms = np.sqrt(sum((values.astype(np.float64) ** 2).sum(axis=1) for values in flat.values()))
    whole = np.maximum(norms, 1e-12)[:, None]
    return {
        name: (np.stack([sketch(name, row) for row in values]) / whole).astype(np.float32)
        for name, values in flat.items()
    }
