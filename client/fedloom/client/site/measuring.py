"""A site's held-out accuracy, as it may leave the site: two sums over held-out units, noised."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fedloom.client.training.randomness import Stream
from fedloom.client.training.units import TrainingUnits
from fedloom.shared.tasks.base import Example
from fedloom.shared.wire.messages import HeldOut

# One unit moves each of the two sums by at most 1.
SENSITIVITY = math.sqrt(2)
# Told in whole multiples of this: a double's last bits would say how a sum was noised.
_GRID = 2.0**-10

Judge = Callable[[Sequence[Example]], Sequence[bool]]


def held_out_sums(units: TrainingUnits, judge: Judge) -> NDArray[np.float64]:
    """How many units there are, and how much of them is right; shape (2,).

    A unit counts 1 in the first, and in the second the share of its first `units.cap` records, in
    the order of the file, that `judge` finds right.

    Guarantee: adding or removing one unit moves the pair by at most `SENSITIVITY` in L2, however
    many records it has. Assumes that `judge` looks at each example by itself.
    """
    kept = [group[: units.cap] for group in units.groups]
    verdicts = iter(judge([units.examples[at] for group in kept for at in group]))
    shares = [sum(next(verdicts) for _ in group) / len(group) for group in kept]
    return np.array([len(kept), math.fsum(shares)], dtype=np.float64)


def release(sums: NDArray[np.float64], *, noise_multiplier: float, stream: Stream) -> HeldOut:
    """What may leave of the sums.

    Guarantee: for each held-out privacy unit, under adding or removing one, this is the Gaussian
    mechanism of L2 sensitivity `SENSITIVITY` with `noise_multiplier`, without sampling, followed
    by rounding. Assumes sums as `held_out_sums` makes them, and a stream that draws nothing else.
    """
    noised = sums + noise_multiplier * SENSITIVITY * stream.normal(sums.size)
    units, right = np.round(noised / _GRID) * _GRID
    return HeldOut(units=float(units), right=float(right))
