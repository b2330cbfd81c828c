"""How good an adapter is on labelled records."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated

import numpy as np
from pydantic import Field

from fedloom.server.evaluator.audits.base import (
    Measured,
    Missing,
    Options,
    clusters_of,
    figure,
    found_by,
    share_figure,
)
from fedloom.server.evaluator.audits.breakdown import (
    Labels,
    SiteScores,
    about_classes,
    by_class,
    by_site,
    site_scores,
)
from fedloom.server.evaluator.audits.perplexity import perplexity
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import Better, Figure, Table, Unit
from fedloom.server.evaluator.metrics import Outcomes, score
from fedloom.server.evaluator.statistics import Interval
from fedloom.server.evaluator.subject import Subject
from fedloom.server.evaluator.units import Units
from fedloom.server.report.schema import Estimate
from fedloom.shared.data.records import Record

Resamples = Annotated[int, Field(ge=100, le=100_000)]

# Words, direction and unit by key, in the order in which figures are shown.
_WORDS: Mapping[str, tuple[str, Better, Unit]] = MappingProxyType(
    {
        "accuracy": ("share of the records that it gets right", "higher", "share"),
        "exact_match": ("share of the answers that it gives word for word", "higher", "share"),
        "macro_f1": (
            "F1: how well it finds each label without false alarms, averaged over the labels",
            "higher",
            "score",
        ),
        "perplexity": (
            "perplexity: among how many word pieces it wavers at each step",
            "lower",
            "ratio",
        ),
        "log_loss": ("log loss: how unlikely it finds the right answers", "lower", "nats"),
    }
)
_NO_PERPLEXITY = (
    "Perplexity, exp of the mean loss over all tokens, is larger than any number; see the log loss."
)


class ValidationOptions(Options):
    """`resamples` of the bootstrap behind each interval."""

    resamples: Resamples = 1000


class Validation:
    """With a label set: accuracy, macro-F1 and log loss, and scores by class.

    Without one: exact match by greedy decoding; perplexity, exp of the mean loss over all tokens;
    log loss, the mean over records of the mean over an answer's tokens. Both with scores by site.
    Accuracy (or exact match) and log loss can be compared in pairs.
    """

    name = "validation"
    title = "How good it is"
    asks = "How often is it right, and how likely does it find the right answers?"

    def __init__(self, options: ValidationOptions) -> None:
        self._resamples = options.resamples

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        """Labelled records are needed."""
        return "" if corpus.joint else Missing("no labelled records were given")

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        """All figures and tables, and by record what can be compared in pairs."""
        outcomes, labels = subject.outcomes(corpus.joint), class_numbers(corpus.joint)
        units, asked = corpus.units, self._resamples
        right = "accuracy" if subject.labels else "exact_match"
        sites = site_scores(corpus.sites, outcomes, labels, units=units, resamples=asked)
        perplexities = tuple(self._perplexity(subject, corpus, outcomes))
        findings = found_by(self).model_copy(
            update={
                "figures": (
                    *self._scores(outcomes, labels, units, right=right),
                    *perplexities,
                    *_worst_site(sites, right=right),
                ),
                "tables": (
                    *self._by_class(subject, outcomes, labels, units),
                    by_site(sites, right=right.replace("_", " ")),
                ),
                "caveats": _caveats(subject, labels, perplexities),
            }
        )
        samples = {right: outcomes.right.astype(np.float64), "log_loss": outcomes.loss}
        clusters = clusters_of(dict.fromkeys(samples, units))
        return Measured(findings=findings, samples=samples, clusters=clusters)

    def _scores(
        self, outcomes: Outcomes, labels: Labels, units: Units, *, right: str
    ) -> Iterator[Figure]:
        scores = score(outcomes, labels, units=units, resamples=self._resamples)
        several = np.unique(labels).size > 1
        words, hits = _WORDS[right][0], outcomes.right
        yield share_figure(right, words, hits, better="higher", clusters=units.clusters)
        found = {
            "macro_f1": scores.macro_f1 if several else None,
            "log_loss": scores.loss,
        }
        for key, estimate in found.items():
            if estimate is not None:
                yield _figure(key, interval_of(estimate), units.count)

    def _perplexity(self, subject: Subject, corpus: Corpus, outcomes: Outcomes) -> Iterator[Figure]:
        if not subject.labels:
            tokens = subject.answer_tokens(corpus.joint)
            units, asked = corpus.units, self._resamples
            found = perplexity(outcomes.loss, tokens, units=units, resamples=asked)
            if found is not None:
                yield _figure("perplexity", found, units.count)

    def _by_class(
        self, subject: Subject, outcomes: Outcomes, labels: Labels, units: Units
    ) -> Iterator[Table]:
        if subject.labels:
            names, asked = subject.labels, self._resamples
            yield by_class(outcomes, labels, names, units=units, resamples=asked)


def class_numbers(records: Sequence[Record]) -> Labels:
    """Of records, shape (n,); -1 without a label set."""
    return np.array([record.label for record in records], dtype=np.int64)


def interval_of(estimate: Estimate) -> Interval:
    """The same as audits take it."""
    return Interval(value=estimate.value, low=estimate.low, high=estimate.high)


def _worst_site(sites: Sequence[SiteScores], *, right: str) -> Iterator[Figure]:
    if len(sites) > 1:
        worst = sites[0]
        words = f"{_WORDS[right][0]} at {worst.site}, the worst site"
        found = figure(
            "worst_site",
            words,
            worst.accuracy,
            records=worst.units,
            better="higher",
            unit="share",
        )
        yield found


def _caveats(subject: Subject, labels: Labels, perplexities: Sequence[Figure]) -> tuple[str, ...]:
    if not subject.labels:
        return () if perplexities else (_NO_PERPLEXITY,)
    return tuple(filter(None, [about_classes(labels, subject.labels)]))


def _figure(key: str, found: Interval, records: int) -> Figure:
    words, better, unit = _WORDS[key]
    return figure(key, words, found, records=records, better=better, unit=unit)
