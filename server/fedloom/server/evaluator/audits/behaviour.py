"""Behavioural tests after CheckList: what must not move the answer, and what must."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from fedloom.server.evaluator.audits.base import (
    Measured,
    Missing,
    Options,
    Records,
    clusters_of,
    found_by,
    share_figure,
)
from fedloom.server.evaluator.audits.breakdown import cell
from fedloom.server.evaluator.audits.checklist import Tested, direction, invariance, probabilities
from fedloom.server.evaluator.audits.rewording import REWORDINGS
from fedloom.server.evaluator.corpus import Corpus, pick
from fedloom.server.evaluator.findings import Figure, Shown, Table
from fedloom.server.evaluator.statistics import share_of
from fedloom.server.evaluator.subject import Subject
from fedloom.shared.errors import EvaluationError

# Figure in words, and what a test is called over an example of it.
_WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "typos": ("share of the texts whose answer changes with one typo", "Two letters swapped"),
        "names": (
            "share of the texts whose answer changes with other first names",
            "Other first names",
        ),
        "numbers": ("share of the texts whose answer changes with other numbers", "Other numbers"),
        "contractions": (
            "share of the texts whose answer changes with don't for do not, or the reverse",
            "Other short forms",
        ),
        "punctuation": (
            "share of the texts whose answer changes with a full stop more or less",
            "A full stop more or less",
        ),
        "negation": (
            "share of the sentences of praise or blame that a 'not' does not weaken",
            "A negated word",
        ),
        "negated_praise": (
            "share of the sentences like 'This is not good.' taken for praise",
            "Negated praise",
        ),
    }
)
_ENGLISH = "The changes are made for English; on texts in another language they mean nothing."


class BehaviourOptions(Options):
    """At most `records` texts are changed, and `examples` failures of each test are shown.

    `positive` and `negative` are the labels of praise and blame, where they have other names.
    """

    records: Records = 300
    examples: Annotated[int, Field(ge=0, le=50)] = 3
    positive: str | None = None
    negative: str | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.positive is None) != (self.negative is None):
            raise ValueError("positive or negative alone, expected both labels or none")
        return self


class Behaviour:
    """Failure rates with Wilson's intervals (CheckList; Ribeiro et al. 2020).

    Invariance: the answer to a text stays under a typo, other first names of the same gender,
    other numbers, short and long forms, a full stop. Direction, for labels of praise and blame:
    "not" lowers the probability of what it negates, and "not good" is no praise.
    """

    name = "behaviour"
    title = "Whether small changes of a text mislead it"
    asks = "Does its answer stay when a change means nothing, and move when a word is negated?"

    def __init__(self, options: BehaviourOptions) -> None:
        self._options = options

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        """Labels, and texts to be changed."""
        if not subject.labels:
            return "it answers in free text: whether two answers are the same cannot be told"
        return "" if corpus.joint else Missing("no labelled records were given")

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        """A failure rate for each test that applies to some text, and failures of each."""
        tests = [*self._invariances(subject, corpus), *self._directions(subject)]
        missing = [name for name in REWORDINGS if name not in {test.name for test in tests}]
        caveats = [
            _ENGLISH,
            *(f"{_WORDS[name][1]}: not measured, no text can be changed so." for name in missing),
        ]
        findings = found_by(self).model_copy(
            update={
                "figures": tuple(_figure(test) for test in tests),
                "tables": (_table(tests),),
                "shown": tuple(one for test in tests for one in self._shown(test, subject.labels)),
                "caveats": tuple(caveats),
                "sources": ("Ribeiro et al. 2020, Beyond accuracy: CheckList",),
            }
        )
        samples = {test.name: test.failed.astype(np.float64) for test in tests}
        clusters = clusters_of({test.name: test.units for test in tests})
        return Measured(findings=findings, samples=samples, clusters=clusters)

    def _invariances(self, subject: Subject, corpus: Corpus) -> Iterator[Tested]:
        places = np.array(pick(self._options.records, of=len(corpus.joint)))
        records, units = [corpus.joint[at] for at in places], corpus.units[places]
        before = probabilities(subject, records)
        for name in REWORDINGS:
            test = invariance(subject, records, before, units=units, name=name)
            if test is not None:
                yield test

    def _directions(self, subject: Subject) -> Iterator[Tested]:
        positive, negative = self._options.positive, self._options.negative
        if positive is None or negative is None:
            if set(subject.labels) != {"positive", "negative"}:
                return
            positive, negative = "positive", "negative"
        for label in (positive, negative):
            if label not in subject.labels:
                known = ", ".join(subject.labels)
                raise EvaluationError(f"behaviour: label {label}, expected one of {known}")
        numbers = {label: number for number, label in enumerate(subject.labels)}
        yield from direction(subject, positive=numbers[positive], negative=numbers[negative])

    def _shown(self, test: Tested, labels: Sequence[str]) -> Iterator[Shown]:
        """Failures, those with the largest change first."""
        order = np.argsort(-np.abs(test.fall), kind="stable")
        for at in order[test.failed[order]][: self._options.examples]:
            yield Shown(
                title=_WORDS[test.name][1],
                spans=test.spans[at],
                facts=(
                    ("before", _said(test.before[at], labels)),
                    ("after", _said(test.after[at], labels)),
                ),
            )


def _said(probabilities: Sequence[float], labels: Sequence[str]) -> str:
    best = int(np.argmax(probabilities))
    return f"{labels[best]} {probabilities[best]:.2f}"


def _figure(test: Tested) -> Figure:
    words, clusters = _WORDS[test.name][0], test.units.clusters
    return share_figure(test.name, words, test.failed, better="lower", clusters=clusters)


def _table(tests: Sequence[Tested]) -> Table:
    return Table(
        title="Failures by test",
        columns=("test", "failed", "mean change", "texts"),
        rows=tuple(
            (
                _WORDS[test.name][1],
                cell(share_of(test.failed, test.units.clusters)),
                float(np.abs(test.fall).mean()),
                test.failed.size,
            )
            for test in tests
        ),
        note="Mean change: how far the probability of the answer moves. It should move much where "
        "a word is negated, and little everywhere else.",
    )
