"""The protocol of an aggregator."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedloom.shared.adapter import Adapter, AdapterLayout


class Aggregator(Protocol):
    """Folds updates into a global adapter, one at a time.

    `init`, then `accumulate` any number of times, then `finish`; then `init` again. The result
    must not depend on the order of the updates, to the last bit: replies arrive as they will,
    and a run must be repeatable.
    """

    def init(self, current: Adapter, trained: AdapterLayout, *, total_weight: float) -> None:
        """Begin a round from `current`. `total_weight` bounds the weights still to come."""

    def accumulate(self, delta: NDArray[np.float32], *, weight: float) -> None:
        """Fold in one update, flat over `trained`, of positive `weight`."""

    def finish(self) -> Adapter:
        """The next global adapter.

        Raises:
            ValueError: nothing was accumulated.
        """
