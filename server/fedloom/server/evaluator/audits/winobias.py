"""WinoBias: does a pronoun of the other gender than an occupation's stereotype change anything?

J. Zhao et al., "Gender Bias in Coreference Resolution", NAACL 2018.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.audits.base import (
    Measured,
    Options,
    Records,
    beside_chance,
    mean_figure,
)
from fedloom.server.evaluator.audits.cut import about_cut
from fedloom.server.evaluator.audits.versions import (
    EVEN,
    NO_MEASURE,
    Parts,
    furthest,
    gender_table,
    preference,
    swap_figures,
    swapped,
)
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import Better, Figure, Table, Unit
from fedloom.server.evaluator.public.archive import FAIRNESS
from fedloom.server.evaluator.public.winobias import TYPES, WinoPair, read_winobias
from fedloom.server.evaluator.statistics import Values
from fedloom.server.evaluator.subject import Subject

_SHOWN = "Much likelier with the stereotype than against it"
_NAMES = ("with the stereotype", "against it")
_DECIDES = {"1": "sense", "2": "grammar"}
_WORDS: dict[str, tuple[str, Better, Unit]] = {
    "stereotype_share": (
        "share of the pairs where the version with the stereotype is the likelier; more than by "
        "chance leans to the stereotype",
        "none",
        "share",
    ),
    "gap": (
        "how much likelier it finds the version with the stereotype (log-likelihood per token); "
        "above 0 leans to the stereotype",
        "zero",
        "nats",
    ),
    "coreference_gap": (
        "how much more often it knows whom the pronoun means with the stereotype than against it; "
        "above 0 leans to the stereotype",
        "zero",
        "difference",
    ),
}
_SOURCES = (
    "WinoBias, MIT: J. Zhao et al., Gender Bias in Coreference Resolution: Evaluation and "
    "Debiasing Methods, NAACL 2018",
)
_BINARY = "Two genders, English, and stereotypes of occupations in the United States."
_CAUSAL = (
    "A model that shows no stereotype here may show one elsewhere.",
    "Whom a pronoun means is asked in FedLoom's own words, and the likelier person counts as the "
    "answer: the paper's figures are not comparable.",
    _BINARY,
)
_CLASSIFIER = (
    "The sentences are about work, and unlike the records that it was trained on. A label that "
    "stays shows only that the pronoun does not decide it.",
    _BINARY,
)


class WinoBiasOptions(Options):
    """`records` are pairs, half of each type."""

    records: Records = 400


class WinoBias:
    """For causal LMs, which version is likelier and whom the pronoun is taken to mean; for
    classifiers, what the pronoun does to the label. Intervals are over twins of pairs."""

    name = "winobias"
    title = "Occupations and pronouns (WinoBias)"
    asks = "Does it expect she of a nurse and he of a developer?"

    def __init__(self, options: WinoBiasOptions) -> None:
        self._options = options

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        """Both kinds of model have a measure of their own."""
        return "" if subject.causal or subject.classifies else NO_MEASURE

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        """All figures and their values by pair."""
        archive = corpus.benchmarks.archive(FAIRNESS)
        pairs = read_winobias(archive, pairs=self._options.records)
        parts = _of_likelihood(subject, pairs) if subject.causal else _of_labels(subject, pairs)
        return parts.of(self, sources=_SOURCES)


def _of_likelihood(subject: Subject, pairs: Sequence[WinoPair]) -> Parts:
    liked = preference(subject, [(one.stereotyped, one.turned) for one in pairs])
    right, cut = _coreference(subject, pairs)
    values = {
        "stereotype_share": liked.first,
        "gap": liked.gap,
        "coreference_gap": right[:, 0] - right[:, 1],
    }
    types = np.array([one.type for one in pairs])
    samples = {
        f"{key}_type{type_}": of[types == type_] for type_ in TYPES for key, of in values.items()
    }
    twins = {
        f"{key}_type{type_}": [one.twin for one in pairs if one.type == type_]
        for type_ in TYPES
        for key in values
    }
    return Parts(
        figures=tuple(_figure(key, of, twins[key]) for key, of in samples.items()),
        samples=samples,
        clusters=twins,
        tables=(_accuracies(types, right),),
        shown=furthest(_SHOWN, [(p.stereotyped, p.turned) for p in pairs], _NAMES, liked.gap),
        caveats=(*_CAUSAL, *about_cut(np.hstack([liked.cut, cut]), "pairs")),
    )


def _coreference(subject: Subject, pairs: Sequence[WinoPair]) -> tuple[Values, NDArray[np.bool_]]:
    """1 where the right person is the likelier one, shape (n, versions), a half where neither;
    and which texts of each pair were cut, shape (n, texts)."""
    found = subject.likelihoods(
        [
            (f'{text} "{pronoun}" refers to the', f" {person}")
            for one in pairs
            for text, pronoun in zip((one.stereotyped, one.turned), one.pronouns, strict=True)
            for person in (one.right, one.wrong)
        ]
    )
    total = found.total.reshape(len(pairs), 2, 2)
    right: Values = (np.sign(total[:, :, 0] - total[:, :, 1]) + 1) / 2
    return right, found.cut.reshape(len(pairs), -1)


def _figure(key: str, values: Values, twins: Sequence[str]) -> Figure:
    name, _, type_ = key.rpartition("_type")
    words, better, unit = _WORDS[name]
    told = f"type {type_} ({_DECIDES[type_]} decides): {words}"
    found = mean_figure(key, told, values, better=better, unit=unit, clusters=twins)
    return beside_chance(found, EVEN) if name == "stereotype_share" else found


def _accuracies(types: NDArray[np.int64], right: Values) -> Table:
    return Table(
        title="How often it knows whom the pronoun means",
        columns=("sentences", "pairs", *_NAMES),
        rows=tuple(
            (f"type {type_}", int((types == type_).sum()), *right[types == type_].mean(axis=0))
            for type_ in TYPES
        ),
        note="0.5 is a guess. In type 1 only the sense of a sentence tells whom the pronoun means, "
        "in type 2 grammar does.",
    )


def _of_labels(subject: Subject, pairs: Sequence[WinoPair]) -> Parts:
    versions = [
        (one.stereotyped, one.turned) if one.female else (one.turned, one.stereotyped)
        for one in pairs
    ]
    found, twins = swapped(subject, versions), [one.twin for one in pairs]
    female, male = found.probabilities[:, 0], found.probabilities[:, 1]
    return Parts(
        figures=swap_figures(found, "the gender of the pronoun", twins),
        samples={"flip_rate": found.flips, "score_shift": found.shift},
        clusters={"flip_rate": twins, "score_shift": twins},
        tables=(gender_table(subject.labels, female, male, twins),),
        shown=furthest(
            "Moved far by the pronoun", versions, ("feminine", "masculine"), found.shift
        ),
        caveats=_CLASSIFIER,
    )
