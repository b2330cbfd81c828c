"""A weighted sum whose bits do not depend on the order of its terms."""

import numpy as np
from numpy.typing import NDArray

from fedloom.shared.errors import UpdateRejected

# Weights are shares of at most one in all and values stay below 2^10, so that a sum stays below
# 2^62 whatever the number of sites; one term is rounded to 2^-52.
_SCALE = 2.0**52
LARGEST_VALUE = 2.0**10


class ExactSum:
    """Sum of vectors in 64-bit fixed point, where addition is associative.

    Error: each term is rounded to fp64 and then to a multiple of 2^-52; sums add no more.
    Memory: one int64 vector.
    """

    def __init__(self, size: int) -> None:
        self._total = np.zeros(size, dtype=np.int64)

    def add(self, values: NDArray[np.float32], *, share: float) -> None:
        """Add `share` (in (0, 1], all shares together at most 1) times `values`.

        Raises:
            UpdateRejected: a value is not finite, or 1024 or more.
        """
        if not np.isfinite(values).all() or np.abs(values).max(initial=0.0) >= LARGEST_VALUE:
            raise UpdateRejected(f"update: values must be finite and below {LARGEST_VALUE:g}")
        scaled = values.astype(np.float64) * share * _SCALE
        self._total += np.rint(scaled).astype(np.int64)

    def value(self) -> NDArray[np.float64]:
        """The sum so far."""
        return self._total.astype(np.float64) / _SCALE
