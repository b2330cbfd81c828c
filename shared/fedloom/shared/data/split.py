"""Held-out splits by privacy unit: nobody is on both sides, and nobody moves anybody else."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from fedloom.shared.data.records import Record

Part = Literal["train", "test", "validation"]


@dataclass(frozen=True, kw_only=True)
class Split:
    """How units are parted. With `holdout` = "test", validation units join training."""

    holdout: Literal["test", "validation"]
    test_fraction: float
    validation_fraction: float

    def part_of(self, unit: str) -> Part:
        """Part of one unit, by a hash of its name alone.

        A unit's part never depends on other units, so adding or removing one leaves all
        others where they were, as the neighbouring relation assumes.
        """
        if _uniform("test", unit) < self.test_fraction:
            return "test"
        if self.holdout == "validation" and _uniform("validation", unit) < self.validation_fraction:
            return "validation"
        return "train"

    def training(self, records: Iterable[Record]) -> list[Record]:
        """Records to train on."""
        return [record for record in records if self.part_of(record.unit) == "train"]

    def held_out(self, records: Iterable[Record]) -> list[Record]:
        """Records to score on: test or validation units, as `holdout` says."""
        found = list(records)
        return [found[at] for at in self.held_out_rows(found)]

    def held_out_rows(self, records: Iterable[Record]) -> list[int]:
        """Where they stand among all records, the first being 0."""
        return [
            at for at, record in enumerate(records) if self.part_of(record.unit) == self.holdout
        ]


def _uniform(purpose: str, unit: str) -> float:
    digest = hashlib.sha256(f"fedloom-split/{purpose}/{unit}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
