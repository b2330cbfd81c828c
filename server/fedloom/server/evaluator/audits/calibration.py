"""Whether an adapter is as sure as it is right, and what one number would mend."""

from collections.abc import Iterator, Sequence

import numpy as np

from fedloom.server.evaluator.audits.base import (
    Measured,
    Missing,
    Options,
    clusters_of,
    figure,
    found_by,
    mean_figure,
)
from fedloom.server.evaluator.audits.breakdown import Labels, cell
from fedloom.server.evaluator.audits.temperature import Temperature, cross_fitted
from fedloom.server.evaluator.audits.validation import Resamples, class_numbers, interval_of
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import Chart, Figure, Series, Table
from fedloom.server.evaluator.metrics import BINS, Outcomes, confidence_bins, score
from fedloom.server.evaluator.statistics import Values, share_of
from fedloom.server.evaluator.subject import Subject
from fedloom.server.evaluator.units import Units

_ABOUT_ECE = (
    "Chance alone makes the calibration error larger, and on few records much; its interval may "
    "then lie above the value."
)
_HALVES = ("1, 3, 5, …", "2, 4, 6, …")
_COLUMNS = (
    *("found on", "temperature", "calibration error", "calibration error, corrected"),
    *("log loss", "log loss, corrected"),
)


class CalibrationOptions(Options):
    """`resamples` of the bootstrap behind each interval."""

    resamples: Resamples = 1000


class Calibration:
    """Expected calibration error (Guo et al. 2017), Brier score (1950) and overconfidence, the
    mean confidence less accuracy; then the same after one temperature.

    A temperature divides all logits. It is found on every other unit's records and tried on the
    rest, and the other way round, so that no record is measured with a temperature that has seen
    it, or another of the same unit.
    """

    name = "calibration"
    title = "Whether its confidence can be believed"
    asks = "When it says 90 %, is it right nine times in ten?"

    def __init__(self, options: CalibrationOptions) -> None:
        self._resamples = options.resamples

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        """Probabilities of labels are needed, and two units to part."""
        if not subject.labels:
            return "it answers in free text, without probabilities of labels"
        if len(corpus.joint) < 2:
            return Missing("fewer than two labelled records were given")
        one = Missing("all labelled records are of one unit, and cannot be parted")
        return "" if corpus.units.count > 1 else one

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        """Figures before and after, the halves' temperatures, and a reliability plot."""
        outcomes, labels = subject.outcomes(corpus.joint), class_numbers(corpus.joint)
        units = corpus.units
        found = cross_fitted(outcomes, labels, units=units, resamples=self._resamples)
        samples = {
            "brier": brier(outcomes, labels),
            "overconfidence": confidence(outcomes) - outcomes.right,
            "log_loss_scaled": found.scaled.loss,
        }
        findings = found_by(self).model_copy(
            update={
                "figures": tuple(self._figures(outcomes, labels, units, found, samples)),
                "tables": (self._halves(outcomes, labels, units, found),),
                "charts": (_reliability(outcomes, found.scaled, units),),
                "caveats": (_ABOUT_ECE,),
                "sources": (
                    "Guo et al. 2017, On calibration of modern neural networks",
                    "Brier 1950, Verification of forecasts expressed in terms of probability",
                ),
            }
        )
        clusters = clusters_of(dict.fromkeys(samples, units))
        return Measured(findings=findings, samples=samples, clusters=clusters)

    def _figures(
        self,
        outcomes: Outcomes,
        labels: Labels,
        units: Units,
        found: Temperature,
        samples: dict[str, Values],
    ) -> Iterator[Figure]:
        count, clusters = units.count, units.clusters
        for key, words, of in (
            (
                "ece",
                "calibration error: how far its confidence is from how often it is right",
                outcomes,
            ),
            (
                "ece_scaled",
                "calibration error after one correction of its confidence",
                found.scaled,
            ),
        ):
            ece = score(of, labels, units=units, resamples=self._resamples).ece
            if ece is not None:
                shown = interval_of(ece)
                yield figure(key, words, shown, records=count, better="lower", unit="difference")
        yield mean_figure(
            "brier", "Brier score: how far its probabilities are from the truth, 0 to 2",
            samples["brier"], better="lower", unit="score", bounds=(0.0, 2.0), clusters=clusters,
        )  # fmt: skip
        yield mean_figure(
            "overconfidence", "its mean confidence minus its share right; above 0 it is too sure",
            samples["overconfidence"], better="zero", unit="difference", clusters=clusters,
        )  # fmt: skip
        yield figure(
            "temperature", "temperature: the correction; 1 is none, above 1 it was too sure",
            found.whole, records=count, better="none", unit="ratio",
        )  # fmt: skip
        yield mean_figure(
            "log_loss_scaled", "log loss after the correction",
            samples["log_loss_scaled"], better="lower", unit="nats", clusters=clusters,
        )  # fmt: skip

    def _halves(
        self, outcomes: Outcomes, labels: Labels, units: Units, found: Temperature
    ) -> Table:
        rows = []
        of_what = "records" if units.alone else "the records of units"
        for name, half in zip(_HALVES, found.halves, strict=True):
            at, asked = half.tried, self._resamples
            before, after = (
                score(of[at], labels[at], units=units[at], resamples=asked)
                for of in (outcomes, found.scaled)
            )
            scores = [before.ece, after.ece, before.loss, after.loss]
            cells = [cell(one) if one else None for one in scores]
            rows.append((f"{of_what} {name}", half.temperature, *cells))
        return Table(
            title="The correction, found on one half of the records and tried on the other",
            columns=_COLUMNS,
            rows=tuple(rows),
        )


def confidence(outcomes: Outcomes) -> Values:
    """The probability of what is said, shape (n,)."""
    if outcomes.probabilities is None:
        raise ValueError("confidence of answers without a label set")
    found: Values = outcomes.probabilities.max(axis=1)
    return found


def brier(outcomes: Outcomes, labels: Labels) -> Values:
    """Brier's score of each record, summed over classes: from 0 to 2, shape (n,)."""
    if outcomes.probabilities is None:
        raise ValueError("Brier score of answers without a label set")
    truth = np.eye(outcomes.probabilities.shape[1])[labels]
    found: Values = ((outcomes.probabilities - truth) ** 2).sum(axis=1)
    return found


def _reliability(before: Outcomes, after: Outcomes, units: Units) -> Chart:
    return Chart(
        kind="line",
        title="How sure, and how often right",
        x="how sure it is",
        y="share that is right",
        series=(_series("as it is", before, units), _series("corrected", after, units)),
        diagonal=True,
        note="On the diagonal its confidence can be believed; below it, it is too sure. "
        "Levels of confidence that no record has are left out.",
    )


def _series(name: str, outcomes: Outcomes, units: Units) -> Series:
    sure = confidence(outcomes)
    bins = confidence_bins(sure)
    parts = [np.flatnonzero(bins == number) for number in range(BINS)]
    return _drawn(name, sure, outcomes, units, [part for part in parts if part.size])


def _drawn(
    name: str, sure: Values, outcomes: Outcomes, units: Units, parts: Sequence[Labels]
) -> Series:
    shares = [share_of(outcomes.right[part], units[part].clusters) for part in parts]
    return Series(
        name=name,
        x=tuple(float(sure[part].mean()) for part in parts),
        y=tuple(one.value for one in shares),
        low=tuple(one.low for one in shares),
        high=tuple(one.high for one in shares),
    )
