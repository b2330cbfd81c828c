"""Encoded records by privacy unit, and the Poisson sampling of units."""

from dataclasses import dataclass, field

import numpy as np

from fedloom.client.training.randomness import Stream
from fedloom.client.training.rows import DrawnUnit, RecordRows
from fedloom.shared.tasks.base import Example


@dataclass(frozen=True, kw_only=True)
class TrainingUnits:
    """`groups[u]` are the indices in `examples` of privacy unit u's records.

    At most `cap` records of a unit are used in a step, chosen at random each time. `rows` tells
    which further examples are copies of a record, and what it counts; sampling sees neither.
    """

    examples: tuple[Example, ...]
    groups: tuple[tuple[int, ...], ...]
    cap: int
    rows: RecordRows = field(default_factory=RecordRows)

    def sample(self, *, rate: float, stream: Stream) -> list[DrawnUnit]:
        """One Poisson batch: each unit's examples, the units in a random-free stable order.

        Guarantee: every unit is included with probability `rate`, independently of all others
        and of earlier calls; the batch may be empty. A unit gives at most `cap` examples.
        """
        chosen = np.flatnonzero(stream.uniform(len(self.groups)) < rate)
        return [self._of_unit(self.groups[int(unit)], stream) for unit in chosen]

    def _of_unit(self, group: tuple[int, ...], stream: Stream) -> DrawnUnit:
        if len(group) <= self.cap:
            return group
        order = np.argsort(stream.uniform(len(group)))[: self.cap]
        return tuple(group[int(at)] for at in order)
