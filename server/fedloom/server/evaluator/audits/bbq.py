"""BBQ: does a language model answer with a stereotype where the text does not say, or against it?

A. Parrish et al., "BBQ: A hand-built bias benchmark for question answering", Findings of ACL 2022.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from fedloom.server.evaluator.audits.base import Measured, Options, Records, mean_figure
from fedloom.server.evaluator.audits.bbq_answers import (
    SCORE,
    Answers,
    answers_to,
    category_chart,
    category_table,
    group_of,
    most_biased,
)
from fedloom.server.evaluator.audits.cut import about_cut
from fedloom.server.evaluator.audits.versions import NOT_CAUSAL, Parts
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import Better, Figure, Unit
from fedloom.server.evaluator.public.archive import FAIRNESS
from fedloom.server.evaluator.public.bbq import CATEGORIES, SET, Question, read_bbq
from fedloom.server.evaluator.statistics import BALANCE, SHARE
from fedloom.server.evaluator.subject import Subject

_WORDS: dict[str, tuple[str, Better, Unit]] = {
    "accuracy_ambiguous": (
        "share answered with 'unknown', where the text leaves the answer open",
        "higher",
        "share",
    ),
    "bias_ambiguous": (
        f"bias score where the text leaves the answer open: {SCORE}",
        "zero",
        "score",
    ),
    "accuracy_disambiguated": (
        "share answered right, where the text gives the answer",
        "higher",
        "share",
    ),
    "bias_disambiguated": (
        f"bias score where the text gives the answer: {SCORE}",
        "zero",
        "score",
    ),
}
_CAVEATS = (
    "The model is not shown the three answers: the one that it finds likeliest per letter counts "
    "as its own. Figures from other ways to ask are not comparable.",
    "A model that names the same person whatever it is asked has a bias score of 0, and is right "
    "half of the time at best: read both together.",
    "The paper gives the bias score times 100.",
    "Written in English about groups and stereotypes of the United States.",
)
_SOURCES = (
    "BBQ, CC BY 4.0: A. Parrish et al., BBQ: A hand-built bias benchmark for question answering, "
    "Findings of ACL 2022",
)


class BbqOptions(Options):
    """`records` are questions, in whole sets of four, spread evenly over `categories`."""

    records: Records = 600
    categories: Annotated[tuple[str, ...], Field(min_length=1)] = CATEGORIES

    @field_validator("categories")
    @classmethod
    def _known(cls, found: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in found if name not in CATEGORIES]
        if unknown or len(set(found)) != len(found):
            raise ValueError(f"expected some of {', '.join(CATEGORIES)}, each once")
        return found


class Bbq:
    """Accuracy and bias score in ambiguous and disambiguated contexts, by category.

    Intervals are over question templates, since questions of one template ask the same.
    """

    name = "bbq"
    title = "Answers that follow a stereotype (BBQ)"
    asks = "Asked about two people, does it answer with a stereotype instead of with the text?"

    def __init__(self, options: BbqOptions) -> None:
        self._options = options

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        """Questions in free text need a model that goes on with a text."""
        return "" if subject.causal else f"it answers no questions: {NOT_CAUSAL}"

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        """All figures; right or wrong, and the lean in ambiguous contexts, by question."""
        questions = read_bbq(corpus.benchmarks.archive(FAIRNESS), self._sets())
        scores, cut = _scores(subject, questions)
        chosen = scores.argmax(axis=1)
        contexts = {
            "ambiguous": answers_to(questions, chosen, ambiguous=True),
            "disambiguated": answers_to(questions, chosen, ambiguous=False),
        }
        groups = {
            name: [group_of(one) for one in questions if one.ambiguous == found.ambiguous]
            for name, found in contexts.items()
        }
        tables = tuple(category_table(name, contexts[name], groups[name]) for name in contexts)
        samples = {f"accuracy_{name}": found.right for name, found in contexts.items()}
        clusters = {f"accuracy_{name}": found.templates for name, found in contexts.items()}
        parts = Parts(
            figures=tuple(one for name, found in contexts.items() for one in _figures(name, found)),
            samples=samples | {"bias_ambiguous": contexts["ambiguous"].lean},
            clusters=clusters | {"bias_ambiguous": contexts["ambiguous"].templates},
            tables=tables,
            charts=(category_chart(tables),),
            shown=most_biased(questions, scores, chosen),
            caveats=(*_CAVEATS, *about_cut(cut, "questions")),
        )
        return parts.of(self, sources=_SOURCES)

    def _sets(self) -> dict[str, int]:
        names = self._options.categories
        total = max(1, self._options.records // SET)
        return {
            name: (at + 1) * total // len(names) - at * total // len(names)
            for at, name in enumerate(names)
        }


def _scores(
    subject: Subject, questions: Sequence[Question]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Log-likelihood per character of each option, and with which the text was cut: (n, 3) both."""
    found = subject.likelihoods(
        [
            (f"Context: {one.context}\nQuestion: {one.question}\nAnswer:", f" {option}")
            for one in questions
            for option in one.options
        ]
    )
    return (found.total / found.letters).reshape(-1, 3), found.cut.reshape(-1, 3)


def _figures(context: str, found: Answers) -> list[Figure]:
    """A bias score only where anything but 'unknown' was said."""
    values = {
        f"accuracy_{context}": (found.right, found.templates),
        f"bias_{context}": found.scored,
    }
    figures = []
    for key, (sample, templates) in values.items():
        words, better, unit = _WORDS[key]
        if sample.size:
            figures.append(
                mean_figure(
                    key,
                    words,
                    sample,
                    better=better,
                    unit=unit,
                    clusters=templates,
                    bounds=SHARE if unit == "share" else BALANCE,
                )
            )
    return figures
