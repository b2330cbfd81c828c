"""Whose each labelled record is: intervals and tests over records resample whole privacy units."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedloom.shared.data.records import Record, group_by_unit

Rows = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """Of n records the number of each one's unit, from 0, shape (n,); 0, 1, 2, … where each record
    is a unit of its own, so that resampling units is then resampling records."""

    numbers: Places

    @classmethod
    def apart(cls, records: int) -> "Units":
        """Each record is a unit of its own."""
        return cls(numbers=np.arange(records))

    @classmethod
    def of(cls, parts: Iterable[Sequence[Record]], *, unit: str) -> "Units":
        """Of the records of several sites, site after site, in the order in which units come.

        What is one unit is what training takes for one: with the unit `record` each row, whatever
        it says; else a name at a site, so that a name at two sites is two units.
        """
        numbers: list[int] = []
        start = 0
        for records in parts:
            groups = group_by_unit(list(records), unit=unit)
            found = {at: start + number for number, group in enumerate(groups) for at in group}
            numbers += [found[at] for at in range(len(records))]
            start += len(groups)
        return cls(numbers=np.array(numbers, dtype=np.int64))

    @cached_property
    def count(self) -> int:
        """How many units there are."""
        return int(np.unique(self.numbers).size)

    @property
    def alone(self) -> bool:
        """Whether each record is a unit of its own."""
        return self.count == self.numbers.size

    @property
    def clusters(self) -> tuple[int, ...] | None:
        """The numbers as statistics take them; None where each record is alone."""
        return None if self.alone else tuple(self.numbers.tolist())

    def __getitem__(self, at: slice | Places | NDArray[np.bool_]) -> "Units":
        """Of some of the records; those that are alone among them count as such."""
        _, numbers = np.unique(self.numbers[at], return_inverse=True)
        found = Units(numbers=numbers.astype(np.int64))
        return Units.apart(numbers.size) if found.alone else found

    def sums(self, rows: Rows) -> Rows:
        """Rows, one for each record, summed by unit: shape (units, any).

        Raises:
            ValueError: not as many rows as records.
        """
        if len(rows) != self.numbers.size:
            raise ValueError(f"{len(rows)} rows for the units of {self.numbers.size} records")
        if self.alone:
            return rows
        order = np.argsort(self.numbers, kind="stable")
        starts = np.searchsorted(self.numbers[order], np.arange(self.count))
        found: Rows = np.add.reduceat(rows[order], starts, axis=0)
        return found

    def drawn(self, generator: np.random.Generator) -> Places:
        """The places, in order, of all records of as many units as there are, drawn with
        replacement: a unit that is drawn twice has each of its records there twice."""
        picked = generator.integers(self.count, size=self.count)
        times = np.bincount(picked, minlength=self.count)
        return np.repeat(np.arange(self.numbers.size), times[self.numbers])
