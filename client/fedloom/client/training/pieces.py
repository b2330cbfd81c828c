"""Cuts a batch into pieces that fit in memory, whatever Poisson sampling drew.

Cutting happens after sampling: it changes memory and speed, and of the result only the rounding.
Cutting by length *before* sampling would take away the amplification by sampling.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from fedloom.client.training.units import DrawnUnit
from fedloom.shared.tasks.base import Example


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """What one forward pass takes: examples and their indices at the site.

    `unit_of[i]` numbers the unit of example i from 0 to `units`-1; `shares[i]` is what its loss
    counts for in its unit, one over the unit's examples in the whole batch.
    """

    indices: tuple[int, ...]
    examples: tuple[Example, ...]
    unit_of: tuple[int, ...]
    shares: tuple[float, ...]
    units: int


# Micro-batches with the same units, numbered alike: their gradients are summed before clipping.
ClipGroup = Sequence[MicroBatch]


def clip_groups(
    batch: Sequence[DrawnUnit], examples: Sequence[Example], *, max_tokens: int
) -> Iterator[ClipGroup]:
    """Pieces of at most `max_tokens` padded tokens, but at least one row each.

    Units of one padded length, of what is read and of the answer, go together: how far a unit is
    padded must not depend on who else was drawn, or in bf16 it would move the others' gradients.
    Every unit is in exactly one group, hence clipped once; a unit beyond the budget has a group
    of its own, in several pieces.
    """

    def bucket(unit: DrawnUnit) -> tuple[int, int]:
        read, answered = zip(*(examples[at].bucket for at in unit), strict=True)
        return max(read), max(answered)

    for lengths, alike in groupby(sorted(batch, key=bucket), key=bucket):
        rows = max(1, max_tokens // max(lengths))
        for units in _filled(alike, rows):
            if len(units) == 1:
                yield _cut(units[0], examples, rows)
            else:
                yield [_joined(units, examples)]


def _filled(units: Iterator[DrawnUnit], rows: int) -> Iterator[list[DrawnUnit]]:
    """Runs of units with at most `rows` examples, or of one unit with more."""
    held: list[DrawnUnit] = []
    for unit in units:
        if held and sum(map(len, held)) + len(unit) > rows:
            yield held
            held = []
        held.append(unit)
    yield held


def _joined(units: Sequence[DrawnUnit], examples: Sequence[Example]) -> MicroBatch:
    indices = [at for unit in units for at in unit]
    return MicroBatch(
        indices=tuple(indices),
        examples=tuple(examples[at] for at in indices),
        unit_of=tuple(number for number, unit in enumerate(units) for _ in unit),
        shares=tuple(1 / len(unit) for unit in units for _ in unit),
        units=len(units),
    )


def _cut(unit: DrawnUnit, examples: Sequence[Example], rows: int) -> ClipGroup:
    whole = _joined([unit], examples)
    return [
        MicroBatch(
            indices=whole.indices[start : start + rows],
            examples=whole.examples[start : start + rows],
            unit_of=whole.unit_of[start : start + rows],
            shares=whole.shares[start : start + rows],
            units=1,
        )
        for start in range(0, len(unit), rows)
    ]
