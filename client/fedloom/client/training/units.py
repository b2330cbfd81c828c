"""Encoded records by privacy unit, and the Poisson sampling of units."""

from dataclasses import dataclass

import numpy as np

from fedloom.client.training.randomness import Stream
from fedloom.shared.tasks.base import PADDED_TO, Example


@dataclass(frozen=True, kw_only=True)
class TrainingUnits:
    """`groups[u]` are the indices in `examples` of privacy unit u's records.

    At most `cap` records of a unit are used in a step, chosen at random each time.
    """

    examples: tuple[Example, ...]
    groups: tuple[tuple[int, ...], ...]
    cap: int

    def sample(self, *, rate: float, stream: Stream) -> list[list[Example]]:
        """One Poisson batch: each unit's examples, the units in a random-free stable order.

        Guarantee: every unit is included with probability `rate`, independently of all others
        and of earlier calls; the batch may be empty. A unit gives at most `cap` examples.
        """
        chosen = np.flatnonzero(stream.uniform(len(self.groups)) < rate)
        return [self._of_unit(self.groups[int(unit)], stream) for unit in chosen]

    def _of_unit(self, group: tuple[int, ...], stream: Stream) -> list[Example]:
        if len(group) > self.cap:
            order = np.argsort(stream.uniform(len(group)))[: self.cap]
            group = tuple(group[int(at)] for at in order)
        return [self.examples[at] for at in group]


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """Examples of whole units. `unit_of[i]` numbers the unit of example i from 0 to `units`-1."""

    examples: list[Example]
    unit_of: list[int]
    units: int


def micro_batches(batch: list[list[Example]], *, size: int) -> list[MicroBatch]:
    """Cut a batch into pieces of about `size` examples, similar lengths together.

    Whole units stay in one piece, so that each is clipped once. Cutting happens after Poisson
    sampling: it changes memory and speed, and of the result only the rounding.
    """
    by_length = sorted(batch, key=_longest)
    pieces: list[list[list[Example]]] = []
    room, bucket = 0, -1
    for unit in by_length:
        # One bucket a piece: how far a unit is padded must not depend on who else was drawn,
        # or in bf16 one unit would move the others' gradients.
        if len(unit) > room or -(-_longest(unit) // PADDED_TO) != bucket:
            pieces.append([])
            room, bucket = size, -(-_longest(unit) // PADDED_TO)
        pieces[-1].append(unit)
        room -= len(unit)
    return [_joined(piece) for piece in pieces]


def _longest(unit: list[Example]) -> int:
    return max(len(example.tokens) for example in unit)


def _joined(piece: list[list[Example]]) -> MicroBatch:
    examples = [example for unit in piece for example in unit]
    unit_of = [at for at, unit in enumerate(piece) for _ in unit]
    return MicroBatch(examples=examples, unit_of=unit_of, units=len(piece))
