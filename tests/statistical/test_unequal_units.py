"""Gaps between groups whose units have unlike numbers of records: what chance would show is what it
shows, and p is as seldom small as it says."""

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from fedloom.server.evaluator.fairness.counts import cells_of, resampled
from fedloom.server.evaluator.fairness.gaps import Gap, gaps_of
from fedloom.server.evaluator.fairness.grouping import parted
from fedloom.server.evaluator.units import Units

WORLDS, PEOPLE = 200, 80
# By case, of each person in turn: in which groups they have how many records.
NESTED = ({"a": 40}, {"b": 1})
THREE = ({"a": 40}, {"b": 10}, {"c": 1})
CROSSED = ({"a": 40, "b": 1},)
Person = Mapping[str, int]


def a_world(seed: int, people: tuple[Person, ...]) -> Mapping[str, Gap]:
    """80 people, each with an accuracy of their own of 80 % on the average whatever the group."""
    generator = np.random.default_rng(seed)
    every = [people[at % len(people)] for at in range(PEOPLE)]
    owners = np.repeat(np.arange(PEOPLE), [sum(one.values()) for one in every])
    groups = [group for one in every for group, count in one.items() for _ in range(count)]
    right = generator.random(owners.size) < generator.beta(0.8, 0.2, size=PEOPLE)[owners]
    positive = generator.random(owners.size) < 0.5
    cells = cells_of(positive, positive == right, right)
    grouping = parted("x", groups, units=Units(numbers=owners), min_group=1)
    (drawn,) = resampled(cells, [grouping], resamples=2)
    return gaps_of(cells, grouping, drawn, permutations=99)


@pytest.mark.parametrize("people", [NESTED, THREE, CROSSED])
def test_unlike_units_raise_no_more_alarms_and_chance_is_what_it_shows(
    people: tuple[Person, ...],
) -> None:
    """p < 0.05 in about 5.5 % of 200 worlds for either measure, above 10 % in one of the six once
    in 30 seeds, and these are fixed; the mean gap is off by 10 % of itself once in 20 to 100. Dealt
    out, units of 40 records and of 1 raise 11 to 14 % false alarms of the worst group where each is
    in one group; and in both groups, a gap twice as large as chance truly shows."""
    found = [a_world(seed, people) for seed in range(WORLDS)]
    for name in ("accuracy_gap", "worst_accuracy"):
        assert sum(one[name].p_value <= 0.05 for one in found) <= 0.1 * WORLDS, name
    chance, true = (np.mean(list(values)) for values in (_by_chance(found), _gaps(found)))
    assert chance == pytest.approx(true, rel=0.15)


def _by_chance(found: list[Mapping[str, Gap]]) -> Iterator[float]:
    return (one["accuracy_gap"].by_chance for one in found)


def _gaps(found: list[Mapping[str, Gap]]) -> Iterator[float]:
    return (one["accuracy_gap"].value for one in found)


def test_a_true_gap_between_unlike_units_is_seen() -> None:
    """The control: 80 % against 40 % in the same case is seen nearly always."""
    people = np.arange(PEOPLE)
    owners = np.repeat(people, np.where(people % 2, 40, 1))
    seen = 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        right = generator.random(owners.size) < np.where(owners % 2, 0.8, 0.4)
        cells = cells_of(right, right, right)
        groups = np.where(owners % 2, "b", "a").tolist()
        grouping = parted("x", groups, units=Units(numbers=owners), min_group=1)
        (drawn,) = resampled(cells, [grouping], resamples=2)
        gap = gaps_of(cells, grouping, drawn, permutations=99)["accuracy_gap"]
        seen += gap.p_value < 0.05
    assert seen >= 18
