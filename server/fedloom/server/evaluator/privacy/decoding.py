"""Which records moved an adapter: their gradients, found again in the sum that training released.

To first order, the change of an adapter is a sum of gradients, each as often as its record was
sampled, and of noise. Someone who knows all records but not which canaries were among them, as
differential privacy lets an adversary know, can solve for that: the best linear estimate of each
canary's weight. What a single gradient's inner product with the change tells ("gradient
canaries", M. Nasr et al., "Tight Auditing of Differentially Private Machine Learning", USENIX
Security 2023) is its limit for large noise.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import solve

from fedloom.server.evaluator.statistics import Values

_LEAST_RIDGE = 1e-9
# Of all inner products: below this, rounding decides whether there is a solution.
_LEAST_PART = 1e-12


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Inner products of n gradients with each other, shape (n, n), and with a change of what they
    are gradients of, shape (n,), positive where the change goes against them, as training does.

    Those over several tensors are the sum of those over each.
    """

    gram: Values
    match: Values

    @classmethod
    def of(cls, gradients: Values, change: Values) -> Self:
        """From gradients of shape (n, d) and a change of shape (d,)."""
        rows = gradients.astype(np.float64)
        return cls(gram=rows @ rows.T, match=-(rows @ change))

    def __add__(self, other: Self) -> Self:
        return type(self)(gram=self.gram + other.gram, match=self.match + other.match)

    def energy(self, first: int) -> float:
        """Mean square norm of the first gradients."""
        return float(np.trace(self.gram[:first, :first])) / first

    def weights(self, *, ridge: float, canaries: int) -> Values:
        """The estimated weight of the first `canaries` gradients in the change, in units of their
        standard deviation, shape (canaries,); zeros where no gradient says anything.

        `ridge` is the variance of the noise in a coordinate over that of a weight: the best
        linear estimate, as a ridge regression, (G G' + ridge I)^-1 G (-change).
        """
        energy = self.energy(canaries)
        if energy == 0:
            return np.zeros(canaries)
        # Without noise two gradients that are one would have no solution of their own.
        whole = ridge + _LEAST_RIDGE * energy + _LEAST_PART * float(np.trace(self.gram))
        lifted = self.gram.copy()
        lifted[np.diag_indices_from(lifted)] += whole
        # Symmetric and positive definite, which takes half of what any matrix would.
        solved = solve(lifted, self.match, assume_a="pos", overwrite_a=True, check_finite=False)
        found = solved[:canaries]
        spread = float(found.std())
        return np.asarray(found / spread, np.float64) if spread > 0 else np.zeros(canaries)
