"""Multiple choice by likelihood: which of the labels a language model finds the likeliest answer,
with and without examples before the question."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from fedloom.server.evaluator.audits.base import (
    Measured,
    Missing,
    Options,
    clusters_of,
    found_by,
    share_figure,
)
from fedloom.server.evaluator.audits.breakdown import Labels
from fedloom.server.evaluator.audits.validation import class_numbers
from fedloom.server.evaluator.corpus import Corpus, pick
from fedloom.server.evaluator.findings import Figure, Table
from fedloom.server.evaluator.statistics import Values
from fedloom.server.evaluator.subject import Subject
from fedloom.server.evaluator.units import Units
from fedloom.shared.data.chats import Turn
from fedloom.shared.data.records import Record
from fedloom.shared.words import count

Shots = Annotated[int, Field(ge=0, le=64)]


class MultipleChoiceOptions(Options):
    """`shots` are the numbers of examples to ask with, at most `records` the questions."""

    shots: tuple[Shots, ...] = Field(default=(0,), min_length=1)
    records: Annotated[int, Field(ge=1, le=1_000_000)] = 1000


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Questions with `shots` examples before each: what was right, and how many of them fill all
    that the model reads."""

    shots: int
    right: Values
    by_letters: Values
    at_limit: int


class MultipleChoice:
    """Accuracy by likelihood of the labels, and by likelihood for each letter of the label, since
    a long label is less likely by its length alone.

    Examples come from the records themselves, at evenly picked places, as earlier turns in the
    model's own chat template (lines of plain text without one). The units of the greatest number
    of shots are left out of the test for all, so that all are measured on the same questions, and
    nobody's record stands beside the question about another of the same person.
    """

    name = "multiple-choice"
    title = "Multiple choice"
    asks = "How often does it find the right answer likeliest, with and without a few examples?"

    def __init__(self, options: MultipleChoiceOptions) -> None:
        self._options = options

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        """Labels in words are needed, and records beside the examples."""
        if subject.classifies:
            return "it is a classifier, and rates no answers in words"
        if not subject.labels:
            return "it answers in free text: there is nothing to choose from"
        if not self._parted(corpus)[1].size:
            units = corpus.units
            of = "" if units.alone else f" of {count(units.count, 'unit')}"
            return Missing(
                f"there are {len(corpus.joint)} labelled records{of}, and {self._most} are needed "
                "as examples"
            )
        return ""

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        """Two figures and a row for each number of shots."""
        records = corpus.joint
        places, rest = self._parted(corpus)
        examples = [records[at] for at in places]
        chosen = rest[pick(self._options.records, of=rest.size)]
        tested, units = [records[at] for at in chosen], corpus.units[chosen]
        asked = [
            _ask(subject, tested, examples[:shots]) for shots in dict.fromkeys(self._options.shots)
        ]
        findings = found_by(self).model_copy(
            update={
                "figures": tuple(figure for one in asked for figure in _figures(one, units)),
                "tables": (_table(asked, class_numbers(tested)),),
                "caveats": tuple(_caveats(asked)),
            }
        )
        samples = {key: values for one in asked for key, _, values in _kinds(one)}
        clusters = clusters_of(dict.fromkeys(samples, units))
        return Measured(findings=findings, samples=samples, clusters=clusters)

    def _parted(self, corpus: Corpus) -> tuple[list[int], Labels]:
        """Places of the examples, and of the records that may be asked about."""
        places, numbers = pick(self._most, of=len(corpus.joint)), corpus.units.numbers
        return places, np.flatnonzero(~np.isin(numbers, numbers[places]))

    @property
    def _most(self) -> int:
        return max(self._options.shots)


def _ask(subject: Subject, records: Sequence[Record], examples: Sequence[Record]) -> _Asked:
    before = tuple(turn for example in examples for turn in _said(example))
    asked = [replace(record, before=(*before, *record.before)) for record in records]
    found = subject.label_likelihoods(asked)
    letters = np.array([len(label) for label in subject.labels])
    labels: Labels = class_numbers(records)
    return _Asked(
        shots=len(examples),
        right=(found.argmax(axis=1) == labels).astype(np.float64),
        by_letters=((found / letters).argmax(axis=1) == labels).astype(np.float64),
        at_limit=int(subject.at_limit(asked).sum()),
    )


def _said(record: Record) -> tuple[Turn, ...]:
    return (*record.turns, Turn(role="assistant", content=record.answer))


def _kinds(asked: _Asked) -> Iterator[tuple[str, str, Values]]:
    """Key, words and values of both measures."""
    how = f"after {asked.shots} examples" if asked.shots else "without examples"
    yield f"accuracy_{asked.shots}", f"share of the questions answered right, {how}", asked.right
    words = f"share answered right if long answers are at no disadvantage, {how}"
    yield f"accuracy_letters_{asked.shots}", words, asked.by_letters


def _figures(asked: _Asked, units: Units) -> Iterator[Figure]:
    for key, words, values in _kinds(asked):
        yield share_figure(key, words, values, better="higher", clusters=units.clusters)


def _table(asked: Sequence[_Asked], labels: Labels) -> Table:
    usual = np.bincount(labels).max() / labels.size
    return Table(
        title="By number of examples",
        columns=("examples", "right", "right per letter", "as long as it can read", "questions"),
        rows=tuple(
            (
                one.shots,
                float(one.right.mean()),
                float(one.by_letters.mean()),
                one.at_limit,
                labels.size,
            )
            for one in asked
        ),
        note=f"Always giving the commonest answer would be right in {usual:.1%}.",
    )


def _caveats(asked: Sequence[_Asked]) -> Iterator[str]:
    for one in asked:
        if one.at_limit:
            yield (
                f"With {one.shots} examples, {one.at_limit} of {one.right.size} questions are as "
                "long as the model can read; longer ones lose their beginning."
            )
