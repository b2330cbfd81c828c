"""Counterfactual copies of a record, and its group's weight, as a plan asks for them.

Counterfactual data augmentation (Lu et al. 2018, "Gender Bias in Neural Natural Language
Processing") and reweighting by group (Kamiran and Calders 2012), inside one privacy unit. What
is public (axes, lists, weights) comes from the plan and the package; what depends on a record
depends on that record alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from fedloom.client.training.rows import PLAIN, RecordRows
from fedloom.shared.config.mitigation import MitigationSection
from fedloom.shared.data.records import Record
from fedloom.shared.swaps.swapping import exchanged, mentions, shifts
from fedloom.shared.tasks.base import Example

Encode = Callable[[Sequence[Record]], list[Example]]


def mitigated(
    records: Sequence[Record], mitigation: MitigationSection | None, encode: Encode
) -> tuple[list[Example], RecordRows]:
    """The records' examples, those of their copies after them, and which belong to which.

    A copy that reads as its original, its words being beyond the cut, is left out.
    """
    originals = encode(records)
    if mitigation is None:
        return originals, PLAIN
    made = [(at, copy) for at, each in enumerate(records) for copy in copies_of(each, mitigation)]
    encoded = encode([copy for _, copy in made])
    copies: dict[int, tuple[int, ...]] = {}
    examples = list(originals)
    for (at, _), example in zip(made, encoded, strict=True):
        if example != originals[at]:
            copies[at] = (*copies.get(at, ()), len(examples))
            examples.append(example)
    weights = {at: weight_of(each, mitigation) for at, each in enumerate(records)}
    return examples, RecordRows(copies=copies, weights=weights)


def copies_of(record: Record, mitigation: MitigationSection) -> tuple[Record, ...]:
    """The record's counterfactual copies, at most `most_copies`: the axes in turns."""
    longest = max((len(shifts(axis)) for axis in mitigation.counterfactuals), default=0)
    found = [
        copy
        for shift in range(1, longest + 1)
        for axis in mitigation.counterfactuals
        if shift in shifts(axis)
        for copy in _copy(record, axis, shift)
    ]
    return tuple(found[: mitigation.most_copies])


def weight_of(record: Record, mitigation: MitigationSection) -> float:
    """What the record's loss is multiplied by."""
    if mitigation.group_axis is None:
        return mitigation.weights.get(record.group, 1.0)
    groups = mentions("\n".join(turn.content for turn in record.turns), mitigation.group_axis)
    return fmean(mitigation.weights.get(group, 1.0) for group in sorted(groups)) if groups else 1.0


def _copy(record: Record, axis: str, shift: int) -> Iterator[Record]:
    """The one copy by this exchange, or none; a label stays, a free answer is exchanged too."""

    def swap(text: str) -> str:
        return exchanged(text, axis, shift).text

    before = tuple(replace(turn, content=swap(turn.content)) for turn in record.before)
    answer = record.answer if record.labelled else swap(record.answer)
    copy = replace(record, text=swap(record.text), before=before, answer=answer)
    if copy != record:
        yield copy
