"""Single behavioural tests (CheckList; Ribeiro et al. 2020): what moved, what failed, and where."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.audits.negation import pairs
from fedloom.server.evaluator.audits.rewording import reword
from fedloom.server.evaluator.findings import Span
from fedloom.server.evaluator.statistics import Values
from fedloom.server.evaluator.subject import Subject
from fedloom.server.evaluator.units import Units
from fedloom.shared.data.records import Record
from fedloom.shared.errors import EvaluationError


@dataclass(frozen=True, kw_only=True)
class Tested:
    """One test of n texts: probabilities `before` and `after` the change, shape (n, labels),
    whether each `failed`, shape (n,), and the changed texts in pieces.

    `own` is the label that each is about: the one that was said, or that the sentence asks for;
    `units` are those of the records that the texts come from, each sentence of ours its own.
    """

    name: str
    before: Values
    after: Values
    own: NDArray[np.int64]
    failed: NDArray[np.bool_]
    spans: tuple[tuple[Span, ...], ...]
    units: Units

    @property
    def fall(self) -> Values:
        """By how much the probability of each text's own label fell, shape (n,)."""
        rows = np.arange(self.own.size)
        found: Values = self.before[rows, self.own] - self.after[rows, self.own]
        return found


def invariance(
    subject: Subject, records: Sequence[Record], before: Values, *, units: Units, name: str
) -> Tested | None:
    """Reworded texts must keep their answer; `before` are the probabilities of the records as
    they are. Texts that the rewording does not apply to are no part of it; None if all are such.
    """
    found = [(at, reword(record.text, name)) for at, record in enumerate(records)]
    changed = [(at, new) for at, new in found if new is not None]
    if not changed:
        return None
    places = np.array([at for at, _ in changed])
    old = before[places]
    after = probabilities(subject, [replace(records[at], text=new.text) for at, new in changed])
    said = old.argmax(axis=1)
    return Tested(
        name=name,
        before=old,
        after=after,
        own=said,
        failed=after.argmax(axis=1) != said,
        spans=tuple(new.spans for _, new in changed),
        units=units[places],
    )


def direction(subject: Subject, *, positive: int, negative: int) -> Iterator[Tested]:
    """Sentences of praise and blame with "not": the probability of praise, or of blame, must
    fall, and what is not good must not come out as praise.

    The second is about praise alone: what is not bad need not be good.
    """
    asked = pairs()
    well = np.array([pair.well for pair in asked])
    own = np.where(well, positive, negative)
    every = Tested(
        name="negation",
        before=subject.classify([pair.plain for pair in asked]),
        after=subject.classify([pair.negated for pair in asked]),
        own=own,
        failed=np.zeros(own.size, dtype=bool),
        spans=tuple((Span(text=pair.negated),) for pair in asked),
        units=Units.apart(own.size),
    )
    yield replace(every, failed=every.fall <= 0)
    yield _part(every, np.flatnonzero(well), failed=every.after[well].argmax(axis=1) == positive)


def _part(tested: Tested, at: NDArray[np.int64], *, failed: NDArray[np.bool_]) -> Tested:
    return Tested(
        name="negated_praise",
        before=tested.before[at],
        after=tested.after[at],
        own=tested.own[at],
        failed=failed,
        spans=tuple(tested.spans[place] for place in at),
        units=tested.units[at],
    )


def probabilities(subject: Subject, records: Sequence[Record]) -> Values:
    """Of labels, for records with all that was said before, shape (n, labels).

    Raises:
        EvaluationError: there is no label set, or an answer is no number.
    """
    found = subject.outcomes(records).probabilities
    if found is None:
        raise EvaluationError("behaviour: answers without a label set, expected labels")
    return found
