"""The weighted mean of updates, which linear aggregators share."""

import numpy as np
from numpy.typing import NDArray

from fedloom.server.aggregation.exact_sum import ExactSum
from fedloom.shared.adapter import Adapter, AdapterLayout


class WeightedMean:
    """Adds the weighted mean of all updates to the trained tensors."""

    def init(self, current: Adapter, trained: AdapterLayout, *, total_weight: float) -> None:
        """Begin a round from `current`."""
        self._current, self._trained = current, trained
        self._total_weight = total_weight
        self._sum = ExactSum(trained.size)
        self._shares = ExactSum(1)

    def accumulate(self, delta: NDArray[np.float32], *, weight: float) -> None:
        """Fold in one update."""
        share = weight / self._total_weight
        self._sum.add(delta, share=share)
        self._shares.add(np.ones(1, np.float32), share=share)

    def finish(self) -> Adapter:
        """The current adapter plus the mean update."""
        shares = float(self._shares.value()[0])
        if shares <= 0:
            raise ValueError("aggregator: finish without any update, expected at least one")
        return self._current.plus(self._trained, self._sum.value() / shares)
