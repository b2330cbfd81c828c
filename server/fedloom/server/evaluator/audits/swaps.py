"""Counterfactual swaps: words for one group of people exchanged for another's, all else the same.

After Kusner et al. 2017 (counterfactual fairness) and Kiritchenko and Mohammad 2018 (templates).
What neutral words do is measured beside it, so that bias can be told from jumpiness.
"""

from collections.abc import Iterator, Sequence

from pydantic import Field

from fedloom.server.evaluator.audits.base import Measured, Missing, Options, Records, found_by
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.fairness import moved
from fedloom.server.evaluator.fairness import swap_findings as shown
from fedloom.server.evaluator.fairness.effects import effects_of
from fedloom.server.evaluator.fairness.exchanges import (
    NEUTRAL,
    Axis,
    Exchange,
    from_records,
    from_templates,
    holds_any,
)
from fedloom.server.evaluator.fairness.positive import positive_label
from fedloom.server.evaluator.fairness.swap_examples import most_moved
from fedloom.server.evaluator.fairness.templates import SOURCE
from fedloom.server.evaluator.findings import AuditFindings
from fedloom.server.evaluator.subject import Subject
from fedloom.shared.data.records import Record

_CAVEATS = (
    "The word lists are English, short and FedLoom's own: what they lack is not measured. An "
    "exchange may make a text odd (a king who gives birth).",
    "A site that trained against bias trained on these very words: what that did here says less "
    "about other words.",
    "Labels of short template sentences change more easily than those of records: compare like "
    "with like.",
    "To readers in the United States a name is a sign of a group; it does not make a person part "
    "of it.",
)
_SOURCES = (
    "word lists: FedLoom's own, out of public knowledge; names after Bertrand and Mullainathan "
    "2004, Caliskan et al. 2017 and the US Social Security Administration",
    "Kusner et al. 2017, Counterfactual fairness",
)


class SwapsOptions(Options):
    """`records` is how many texts that hold a word are taken for each axis, evenly picked;
    `templates` adds sentences of our own; `positive` is the label whose probability is followed,
    the last by default; `examples` how many texts are shown."""

    axes: tuple[Axis, ...] = Field(
        default=("gender", "names", "religion", "ethnicity"), min_length=1
    )
    records: Records = 400
    templates: bool = True
    positive: str | None = None
    examples: int = Field(default=6, ge=0, le=100)


class Swaps:
    """Flip rates, changes of probability, and who is moved which way."""

    name = "swaps"
    title = "Whether it matters whom a text speaks of"
    asks = "Does its answer change when she becomes he, or a Christian a Muslim, and nothing else?"

    def __init__(self, options: SwapsOptions) -> None:
        self._options = options
        self._axes = tuple(dict.fromkeys(options.axes))

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        """A label set, and words to exchange, are needed."""
        if not subject.labels:
            return "it answers in free text: there is no label that could change"
        if self._options.templates or holds_any(corpus.joint, self._axes):
            return ""
        return Missing(f"no text holds a word for {', '.join(self._axes)}, and templates are off")

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        """Flips and changes by axis and text, against neutral exchanges."""
        positive = positive_label(self._options.positive, subject.labels)
        label = subject.labels[positive]
        exchanges = list(self._exchanges(subject, corpus))
        effects = effects_of(subject, exchanges, positive)
        samples = shown.samples(effects, self._axes)
        figures = tuple(shown.figures(samples, label))
        groups = moved.moved_groups(effects)
        words = moved.moved_words(effects)
        rates = shown.rates(effects, self._axes)
        findings: AuditFindings = found_by(self).model_copy(
            update={
                "figures": figures,
                "tables": (
                    shown.rate_table(rates),
                    moved.moved_table("How each group moves the answer", groups, label),
                    moved.moved_table("Which words move the answer most", words, label),
                ),
                "charts": (shown.flips_chart(rates), moved.moved_chart(groups, label)),
                "shown": tuple(most_moved(effects, label, count=self._options.examples)),
                "caveats": (*_CAVEATS, *self._lacking(exchanges)),
                "sources": (*_SOURCES, *((SOURCE,) if self._options.templates else ())),
            }
        )
        return Measured(
            findings=findings,
            samples={key: of.values for key, of in samples.items()},
            clusters={key: of.clusters for key, of in samples.items()},
        )

    def _exchanges(self, subject: Subject, corpus: Corpus) -> Iterator[Exchange]:
        plain = Record(text="", label=0, unit="", answer=subject.labels[0])
        for axis in (*self._axes, NEUTRAL):
            yield from from_records(corpus, axis, limit=self._options.records)
            if self._options.templates:
                yield from from_templates(axis, plain)

    def _lacking(self, exchanges: Sequence[Exchange]) -> Iterator[str]:
        found = {one.axis for one in exchanges if one.natural}
        for axis in (*self._axes, NEUTRAL):
            if axis not in found:
                left = "only template sentences do" if self._options.templates else "not measured"
                yield f"{axis}: no record holds such a word; {left}"
