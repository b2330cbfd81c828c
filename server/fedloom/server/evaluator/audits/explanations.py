"""Which words decide, and whether explanations that name them hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from fedloom.server.evaluator.audits.base import (
    Measured,
    Missing,
    Options,
    Records,
    clusters_of,
    found_by,
)
from fedloom.server.evaluator.corpus import Corpus, pick
from fedloom.server.evaluator.explain.asking import Asked, Probabilities
from fedloom.server.evaluator.explain.attention import attention_view
from fedloom.server.evaluator.explain.edits import Edit, smallest_edits
from fedloom.server.evaluator.explain.examples import Explained, choose, shown
from fedloom.server.evaluator.explain.faithfulness import faithfulness, random_orders
from fedloom.server.evaluator.explain.gradients import Attribution, integrated_gradients
from fedloom.server.evaluator.explain.summary import (
    against_chance,
    deletion_chart,
    edit_figures,
    gap_figure,
    samples,
    score_figures,
)
from fedloom.server.evaluator.explain.vocabulary import words_against
from fedloom.server.evaluator.explain.words import WordedText, read_words
from fedloom.server.evaluator.findings import Shown
from fedloom.server.evaluator.subject import Subject
from fedloom.server.evaluator.units import Units
from fedloom.shared.data.records import Record
from fedloom.shared.errors import EvaluationError

# Words of the records that may stand in for one of a text.
_SUBSTITUTES = 3
_CAVEATS = (
    "An explanation says what the model goes by, not what is true or just.",
    "A text with words taken out is not natural: some of the change comes from that.",
    "What a model looks at (attention) need not be what decides.",
    "An edit is the smallest that was found among the words that speak most for the answer; a "
    "smaller one of other words may exist.",
)
_SOURCES = (
    "Sundararajan, Taly and Yan 2017, integrated gradients",
    "DeYoung et al. 2020, comprehensiveness and sufficiency (ERASER)",
    "Samek et al. 2017, deletion curves",
    "Abnar and Zuidema 2020, attention rollout",
    "Jain and Wallace 2019, attention is not explanation",
)


class ExplanationsOptions(Options):
    """`records` are explained and scored, `examples` of them shown.

    `steps` of the integral: at 16 the attributions of a small BERT miss what they should add up
    to by 2 %, at 32 by 0.1 %. `max_edits` bounds the words of an edit.
    """

    records: Records = 24
    examples: Annotated[int, Field(ge=0, le=50)] = 4
    steps: Annotated[int, Field(ge=2, le=1000)] = 16
    max_edits: Annotated[int, Field(ge=1, le=5)] = 3


@dataclass(frozen=True, kw_only=True)
class _Answered:
    """Records that have words, whose they are, what the model says of them, and the words that it
    goes by."""

    records: Sequence[Record]
    units: Units
    texts: Sequence[WordedText]
    probabilities: Probabilities
    attributions: Sequence[Attribution]
    removals: Sequence[Edit | None]

    @property
    def orders(self) -> list[tuple[int, ...]]:
        """The words of each text, from the one that speaks most for the answer."""
        return [one.order for one in self.attributions]


class Explanations:
    """Integrated gradients, attention and smallest edits, scored against chance."""

    name = "explanations"
    title = "Which words it goes by"
    asks = "Which words decide its answers, and are explanations that name them better than chance?"

    def __init__(self, options: ExplanationsOptions) -> None:
        self._options = options

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        """Labelled records and a classifier are needed."""
        if not subject.classifies:
            return "only a classifier's answer is a single score, to which each word adds its part"
        return "" if corpus.joint else Missing("no labelled records were given")

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        """All figures, the deletion curve, and examples with their weights by word."""
        ask = Asked(subject.classify)
        found = self._answered(subject, corpus, ask)
        units = found.units
        ours = faithfulness(ask, found.texts, found.orders)
        chance = faithfulness(ask, found.texts, random_orders(found.texts))
        findings = found_by(self).model_copy(
            update={
                "figures": (
                    *score_figures(ours, chance, units),
                    *edit_figures(found.removals, units, max_edits=self._options.max_edits),
                    gap_figure(found.attributions, units),
                ),
                "tables": (against_chance(ours, chance, units),),
                "charts": (deletion_chart(ours, chance, units),),
                "shown": tuple(self._shown(subject, corpus, ask, found)),
                "caveats": _CAVEATS,
                "sources": _SOURCES,
            }
        )
        values = samples(ours)
        clusters = clusters_of(dict.fromkeys(values, units))
        return Measured(findings=findings, samples=values, clusters=clusters)

    def _answered(self, subject: Subject, corpus: Corpus, ask: Asked) -> _Answered:
        picked = pick(self._options.records, of=len(corpus.joint))
        read = read_words(subject.scorer, [corpus.joint[at].text for at in picked])
        both = [(at, text) for at, text in zip(picked, read, strict=True) if text.words]
        if not both:
            raise EvaluationError("explanations: no record has a word, expected at least one")
        places, texts = zip(*both, strict=True)
        probabilities = ask([text.text for text in texts])
        attributions = integrated_gradients(
            subject.scorer,
            texts,
            [int(at) for at in probabilities.argmax(axis=1)],
            steps=self._options.steps,
        )
        orders = [one.order for one in attributions]
        return _Answered(
            records=[corpus.joint[at] for at in places],
            units=corpus.units[np.array(places)],
            texts=texts,
            probabilities=probabilities,
            attributions=attributions,
            removals=smallest_edits(ask, texts, orders, max_edits=self._options.max_edits),
        )

    def _shown(
        self, subject: Subject, corpus: Corpus, ask: Asked, found: _Answered
    ) -> Iterator[Shown]:
        rights = [record.label for record in found.records]
        chosen = choose(found.probabilities, rights, count=self._options.examples)
        said = [int(found.probabilities[at].argmax()) for at, _ in chosen]
        against = {
            label: words_against(corpus.joint, label, count=_SUBSTITUTES) for label in set(said)
        }
        texts = [found.texts[at] for at, _ in chosen]
        replacements = smallest_edits(
            ask,
            texts,
            [found.orders[at] for at, _ in chosen],
            max_edits=self._options.max_edits,
            substitutes=[against[label] for label in said],
        )
        for (at, kind), replacement in zip(chosen, replacements, strict=True):
            explained = Explained(
                text=found.texts[at],
                probabilities=found.probabilities[at],
                right=rights[at],
                attribution=found.attributions[at],
                attention=attention_view(
                    subject.scorer, found.texts[at], mean=subject.task.pooling == "mean"
                ),
                removal=found.removals[at],
                replacement=replacement,
            )
            yield shown(kind, explained, subject.labels, max_edits=self._options.max_edits)
