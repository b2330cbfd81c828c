"""Records parted into groups: by labelled columns, by site, and by whom their texts mention.

A group's name is a value out of records. Findings leave with the adapter, so that no group of fewer
than `LEAST_NAMED` privacy units is named in them, whatever a suite asks for.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.units import Units
from fedloom.shared.config.data import SITE
from fedloom.shared.errors import EvaluationError
from fedloom.shared.words import count

# Fewer may be one person's, or a family's.
LEAST_NAMED = 10
_LEFT_OUT = -1


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """Groups that are large enough, in the order in which they come; `at` has the number of each
    record's group, shape (n,), -1 where it was left out, and `units` whose record it is; `small`
    are groups left out, with their number of units."""

    name: str
    groups: tuple[str, ...]
    at: NDArray[np.int64]
    units: Units
    small: tuple[tuple[str, int], ...]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which records are in a group that was not left out."""
        found: NDArray[np.bool_] = self.at != _LEFT_OUT
        return found

    @property
    def problem(self) -> str:
        """Why there is nothing to compare; empty if there is."""
        if len(self.groups) > 1:
            return ""
        named = self.groups and self.units[self.kept].count >= LEAST_NAMED
        only = f"only the group {self.groups[0]}" if named else "only one group"
        left = only if self.groups else "no group"
        return f"{self.name}: {left} is left to compare{self.left_out}"

    @property
    def left_out(self) -> str:
        """The smaller groups as the rest of a sentence: by name where they are large enough for
        that or have no record at all, the others by how many there are, and how large together
        where that gives none of them away."""
        told = [f"{name} ({size})" for name, size in self.small if _may_be_named(size)]
        others = [size for _, size in self.small if not _may_be_named(size)]
        if others:
            told.append(_unnamed(others))
        of = "records" if self.units.alone else "units"
        return f"; left out as too small ({of}): {', '.join(told)}" if told else ""


def _may_be_named(size: int) -> bool:
    return size == 0 or size >= LEAST_NAMED


def _unnamed(sizes: Sequence[int]) -> str:
    """One group's sum is its size, and so small a sum is nearly that of each."""
    told = f"{count(len(sizes), 'group')} of {LEAST_NAMED - 1} or fewer"
    if len(sizes) == 1:
        return told
    return f"{told} each" + (f", {sum(sizes)} in all" if sum(sizes) >= LEAST_NAMED else "")


def parted(
    name: str,
    values: Sequence[str],
    *,
    units: Units,
    min_group: int,
    expected: Collection[str] = (),
) -> Grouping:
    """Records by one value each, in groups of `min_group` units at least; values of `expected` that
    no record has are named as empty: they are not out of records.

    Raises:
        EvaluationError: a record has no value.
    """
    for row, value in enumerate(values, start=1):
        if not value.strip():
            raise EvaluationError(f"grouping {name}, record {row}: no group, expected a name")
    named = np.array(values)
    counts = {value: units[named == value].count for value in dict.fromkeys((*expected, *values))}
    groups = tuple(group for group, count in counts.items() if count >= min_group)
    numbers = {group: number for number, group in enumerate(groups)}
    return Grouping(
        name=name,
        groups=groups,
        at=np.array([numbers.get(value, _LEFT_OUT) for value in values], dtype=np.int64),
        units=units,
        small=tuple((group, count) for group, count in counts.items() if count < min_group),
    )


def values_by_grouping(corpus: Corpus) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each grouping that records were labelled with, and their sites last.

    Raises:
        EvaluationError: a grouping of another length, or of a name that is taken.
    """
    for name, values in corpus.groups.items():
        if name == SITE:
            raise EvaluationError(f"grouping {SITE}: the sites' own name, expected another")
        if len(values) != len(corpus.joint):
            raise EvaluationError(
                f"grouping {name}: {len(values)} values, expected one for each of the "
                f"{len(corpus.joint)} records"
            )
        yield name, values
    yield SITE, corpus.sites
