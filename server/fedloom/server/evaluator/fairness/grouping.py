"""Records parted into groups: by labelled columns, by site, and by whom their texts mention."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.corpus import Corpus
from fedloom.shared.errors import EvaluationError

# The grouping that every corpus has.
SITE = "site"
_LEFT_OUT = -1


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """Groups that are large enough, in the order in which they come; `at` has the number of each
    record's group, shape (n,), -1 where it was left out; `small` are groups left out, with their
    number of records."""

    name: str
    groups: tuple[str, ...]
    at: NDArray[np.int64]
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
        left = f"only the group {self.groups[0]}" if self.groups else "no group"
        return f"{self.name}: {left} is left to compare{self.left_out}"

    @property
    def left_out(self) -> str:
        """The smaller groups by name, as the rest of a sentence."""
        names = ", ".join(f"{name} ({count})" for name, count in self.small)
        return f"; left out as too small (records): {names}" if names else ""


def parted(
    name: str, values: Sequence[str], *, min_group: int, expected: Collection[str] = ()
) -> Grouping:
    """Records by one value each; those of `expected` that no record has are named as empty.

    Raises:
        EvaluationError: a record has no value.
    """
    for row, value in enumerate(values, start=1):
        if not value.strip():
            raise EvaluationError(f"grouping {name}, record {row}: no group, expected a name")
    counts = Counter(dict.fromkeys(expected, 0))
    counts.update(values)
    groups = tuple(group for group, count in counts.items() if count >= min_group)
    numbers = {group: number for number, group in enumerate(groups)}
    return Grouping(
        name=name,
        groups=groups,
        at=np.array([numbers.get(value, _LEFT_OUT) for value in values], dtype=np.int64),
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
