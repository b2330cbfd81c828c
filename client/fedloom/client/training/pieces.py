"""Cuts a batch into pieces that fit in memory, whatever Poisson sampling drew.

Cutting happens after sampling: it changes memory and speed, and of the result only the rounding.
Cutting by length *before* sampling would take away the amplification by sampling.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from fedloom.client.training.rows import PLAIN, DrawnUnit, RecordRows, UnitRows
from fedloom.shared.tasks.base import Example


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """What one forward pass takes: examples and their indices at the site.

    `unit_of[i]` numbers the unit of example i from 0 to `units`-1; `shares[i]` is what its loss
    counts for in its unit: one over the unit's examples in the whole batch, unless its record has
    copies or a weight.
    """

    indices: tuple[int, ...]
    examples: tuple[Example, ...]
    unit_of: tuple[int, ...]
    shares: tuple[float, ...]
    units: int


# Micro-batches with the same units, numbered alike: their gradients are summed before clipping.
ClipGroup = Sequence[MicroBatch]


def clip_groups(
    batch: Sequence[DrawnUnit],
    examples: Sequence[Example],
    *,
    max_tokens: int,
    records: RecordRows = PLAIN,
) -> Iterator[ClipGroup]:
    """Pieces of at most `max_tokens` padded tokens, but at least one row each.

    Units of one padded length, of what is read and of the answer, go together: how far a unit is
    padded must not depend on who else was drawn, or in bf16 it would move the others' gradients.
    Every unit is in exactly one group, hence clipped once; a unit beyond the budget has a group
    of its own, in several pieces. `records` tells which rows a unit's records give.
    """

    def bucket(unit: UnitRows) -> tuple[int, int]:
        read, answered = zip(*(examples[at].bucket for at in unit.rows), strict=True)
        return max(read), max(answered)

    given = sorted(map(records.of_unit, batch), key=bucket)
    for lengths, alike in groupby(given, key=bucket):
        rows = max(1, max_tokens // max(lengths))
        for units in _filled(alike, rows):
            if len(units) == 1:
                yield _cut(units[0], examples, rows)
            else:
                yield [_joined(units, examples)]


def _filled(units: Iterator[UnitRows], rows: int) -> Iterator[list[UnitRows]]:
    """Runs of units with at most `rows` examples, or of one unit with more."""
    held, taken = list[UnitRows](), 0
    for unit in units:
        if held and taken + len(unit.rows) > rows:
            yield held
            held, taken = [], 0
        held.append(unit)
        taken += len(unit.rows)
    yield held


def _joined(units: Sequence[UnitRows], examples: Sequence[Example]) -> MicroBatch:
    indices = [at for unit in units for at in unit.rows]
    return MicroBatch(
        indices=tuple(indices),
        examples=tuple(examples[at] for at in indices),
        unit_of=tuple(number for number, unit in enumerate(units) for _ in unit.rows),
        shares=tuple(share for unit in units for share in unit.shares),
        units=len(units),
    )


def _cut(unit: UnitRows, examples: Sequence[Example], rows: int) -> ClipGroup:
    whole = _joined([unit], examples)
    return [
        MicroBatch(
            indices=whole.indices[start : start + rows],
            examples=whole.examples[start : start + rows],
            unit_of=whole.unit_of[start : start + rows],
            shares=whole.shares[start : start + rows],
            units=1,
        )
        for start in range(0, len(unit.rows), rows)
    ]
