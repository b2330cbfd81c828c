"""Which rows a drawn unit gives, and what each one's loss counts for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# One unit of a Poisson batch: the indices of the records that it is to give.
DrawnUnit = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class UnitRows:
    """One unit's rows, as indices of examples, and the share of each one's loss in the unit's."""

    rows: tuple[int, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RecordRows:
    """The copies and the weight of each record that has any: by its index, indices and a factor.

    Guarantee: a unit's rows and shares are a function of its own records and of public numbers
    alone, and they all end in the one gradient of that unit that is clipped. So the sensitivity
    of a step is that without copies and weights, under adding or removing one unit, however many
    copies there are and however large a weight is; sampling, which is before, sees neither.
    """

    copies: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    weights: Mapping[int, float] = field(default_factory=dict)

    def of_unit(self, unit: DrawnUnit) -> UnitRows:
        """The mean over a unit's records of each one's weight times its mean over its rows."""
        rows: list[int] = []
        shares: list[float] = []
        for record in unit:
            own = (record, *self.copies.get(record, ()))
            rows += own
            shares += [self.weights.get(record, 1.0) / (len(unit) * len(own))] * len(own)
        return UnitRows(rows=tuple(rows), shares=tuple(shares))


# Each record is one row and counts as any other.
PLAIN = RecordRows()
