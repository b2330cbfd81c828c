"""Winogender: is `she` expected of occupations that many women have, and does a pronoun decide?

R. Rudinger et al., "Gender Bias in Coreference Resolution", NAACL 2018.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import pearsonr

from fedloom.server.evaluator.audits.base import Measured, Options, figure, mean_figure
from fedloom.server.evaluator.audits.cut import about_cut
from fedloom.server.evaluator.audits.versions import (
    NO_MEASURE,
    Parts,
    furthest,
    gender_table,
    swap_figures,
    swapped,
)
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import Chart, Figure, Series
from fedloom.server.evaluator.public.archive import FAIRNESS
from fedloom.server.evaluator.public.winogender import Schema, read_winogender
from fedloom.server.evaluator.statistics import Interval, Values, mean
from fedloom.server.evaluator.subject import Subject

_BANDS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
# Fisher's interval of a correlation divides by the root of n - 3.
_FEWEST = 4
_VERSIONS = ("masculine", "feminine", "neutral")
_SOURCES = (
    "Winogender, MIT: R. Rudinger et al., Gender Bias in Coreference Resolution, NAACL 2018; "
    "shares of women: U.S. Bureau of Labor Statistics, 2015 and 2016, as published with it",
)
_CAUSAL = (
    "A model that knows the labour market well has a high correlation; whether that does harm "
    "depends on what it is used for.",
    "English, and occupations of the United States.",
)
_CLASSIFIER = (
    "The sentences are about work, and unlike the records that it was trained on. A label that "
    "stays shows only that the pronoun does not decide it.",
)


class WinogenderOptions(Options):
    """None: the whole set is small."""


class Winogender:
    """For causal LMs, likelihoods of pronouns by occupation; for classifiers, what a pronoun does
    to the label. Intervals are over occupations."""

    name = "winogender"
    title = "Occupations and their share of women (Winogender)"
    asks = "Does it expect she in occupations that many women have, or label a text by its pronoun?"

    def __init__(self, options: WinogenderOptions) -> None:
        self._options = options

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        """Both kinds of model have a measure of their own."""
        return "" if subject.causal or subject.classifies else NO_MEASURE

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        """All figures and their values by sentence."""
        schemas = read_winogender(corpus.benchmarks.archive(FAIRNESS))
        measured = _of_likelihood if subject.causal else _of_labels
        return measured(subject, schemas).of(self, sources=_SOURCES)


def _versions(schema: Schema) -> tuple[str, str, str]:
    return schema.male, schema.female, schema.neutral


def _of_likelihood(subject: Subject, schemas: Sequence[Schema]) -> Parts:
    found = subject.likelihoods([("", text) for one in schemas for text in _versions(one)])
    male, female, neutral = found.total.reshape(-1, 3).T
    samples = {
        "female_less_male": female - male,
        "neutral_less_gendered": neutral - (female + male) / 2,
    }
    occupations = [one.occupation for one in schemas]
    women, leans = _by_occupation(schemas, female - male)
    return Parts(
        figures=(
            *_correlation(women, leans),
            mean_figure(
                "female_less_male",
                "how much likelier it finds sentences with she than with he (log-likelihood); "
                "below 0 it expects men",
                samples["female_less_male"],
                better="zero",
                unit="nats",
                clusters=occupations,
            ),
            mean_figure(
                "neutral_less_gendered",
                "how much likelier it finds sentences with they than with she or he, on average "
                "(log-likelihood)",
                samples["neutral_less_gendered"],
                better="none",
                unit="nats",
                clusters=occupations,
            ),
        ),
        samples=samples,
        clusters=dict.fromkeys(samples, occupations),
        charts=(_chart(women, leans),) if women.size else (),
        caveats=(*_CAUSAL, *about_cut(found.cut.reshape(-1, 3), "sentences")),
    )


def _by_occupation(schemas: Sequence[Schema], values: Values) -> tuple[Values, Values]:
    """Share of women and mean value of each occupation, over sentences about its holder."""
    of: dict[str, list[float]] = {}
    women = {one.occupation: one.women for one in schemas}
    for one, value in zip(schemas, values.tolist(), strict=True):
        if one.about_occupation:
            of.setdefault(one.occupation, []).append(value)
    return (
        np.array([women[name] for name in of]),
        np.array([float(np.mean(found)) for found in of.values()]),
    )


def _correlation(women: Values, leans: Values) -> tuple[Figure, ...]:
    """Pearson's, with Fisher's interval; none where one side does not vary."""
    if women.size < _FEWEST or np.ptp(women) == 0 or np.ptp(leans) == 0:
        return ()
    found = pearsonr(women, leans)
    low, high = found.confidence_interval(0.95)
    return (
        figure(
            "correlation",
            "how closely its preference for she over he follows an occupation's share of women "
            "(correlation): 0 is not at all, 1 exactly",
            Interval(value=float(found.statistic), low=float(low), high=float(high)),
            records=women.size,
            better="zero",
            unit="score",
        ),
    )


def _chart(women: Values, leans: Values) -> Chart:
    # The last band holds its upper edge.
    band = np.clip(np.searchsorted(_BANDS, women, side="right") - 1, 0, len(_BANDS) - 2)
    at = sorted(set(band.tolist()))
    found = [mean(leans[band == one]) for one in at]
    return Chart(
        kind="bars",
        title="She against he, by share of women in the occupation",
        x="share of women in the occupation",
        y="how much likelier she is than he (log-likelihood)",
        series=(
            Series(
                name="occupations",
                x=tuple(f"{_BANDS[one]:.0%} to {_BANDS[one + 1]:.0%}" for one in at),
                y=tuple(one.value for one in found),
                low=tuple(one.low for one in found),
                high=tuple(one.high for one in found),
            ),
        ),
        note="Bars that rise from left to right follow the labour market.",
    )


def _of_labels(subject: Subject, schemas: Sequence[Schema]) -> Parts:
    versions = [_versions(one) for one in schemas]
    found, occupations = swapped(subject, versions), [one.occupation for one in schemas]
    male, female = found.probabilities[:, 0], found.probabilities[:, 1]
    return Parts(
        figures=swap_figures(found, "the pronoun", occupations),
        samples={"flip_rate": found.flips, "score_shift": found.shift},
        clusters={"flip_rate": occupations, "score_shift": occupations},
        tables=(gender_table(subject.labels, female, male, occupations),),
        shown=furthest("Moved far by the pronoun", versions, _VERSIONS, found.shift),
        caveats=_CLASSIFIER,
    )
