"""Which records moved an adapter: their gradients, found again in the sum that training released.

To first order, the change of an adapter is a sum of gradients, each as often as its record was
sampled, and of noise. Someone who knows all records but not which canaries were among them, as
differential privacy lets an adversary know, can solve for that: the best linear estimate of each
canary's weight. What a single gradient's inner product with the change tells ("gradient
canaries", M. Nasr et al., "Tight Auditing of Differentially Private Machine Learning", USENIX
Security 2023) is its limit for large noise.
"""

import numpy as np

from fedloom.server.evaluator.statistics import Values

_LEAST_RIDGE = 1e-9


def decoded(gradients: Values, change: Values, *, ridge: float, canaries: int) -> Values:
    """The estimated weight of the first `canaries` gradients in `change`, in units of their
    standard deviation, shape (canaries,); zeros where no gradient says anything.

    `gradients`, shape (n, d), have a norm of about 1 each; `change`, shape (d,), points the way
    that training went, which is against them. `ridge` is the variance of the noise in a
    coordinate over that of a weight: the best linear estimate, as a ridge regression,
    (G G' + ridge I)^-1 G (-change).
    """
    rows = gradients.astype(np.float64)
    gram = rows @ rows.T
    energy = float(np.trace(gram)) / len(gram)
    if energy == 0:
        return np.zeros(canaries)
    # Without noise two gradients that are one would have no solution of their own.
    gram[np.diag_indices_from(gram)] += ridge + _LEAST_RIDGE * energy
    weights = np.linalg.solve(gram, -(rows @ change))[:canaries]
    spread = float(weights.std())
    return np.asarray(weights / spread, np.float64) if spread > 0 else np.zeros(canaries)
