"""Calibration and selective accuracy: models of known temperature, curves counted by hand."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from fedloom.server.evaluator.audits.calibration import Calibration, CalibrationOptions
from fedloom.server.evaluator.audits.selective import (
    RiskCoverage,
    Selective,
    SelectiveOptions,
    risk_coverage,
)
from fedloom.server.evaluator.audits.temperature import Temperature, cross_fitted
from fedloom.server.evaluator.audits.validation import Validation, ValidationOptions
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import Figure
from fedloom.server.evaluator.metrics import Outcomes
from fedloom.server.evaluator.subject import Subject
from fedloom.server.evaluator.units import Units
from fedloom.shared.data.records import Record
from tests.support.subjects import a_classifier, a_speaker

CALIBRATION = Calibration(CalibrationOptions(resamples=100))


def a_world(seed: int, count: int) -> Corpus:
    """Texts are logits; a text is positive as often as its logit says."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=1.5, size=count)
    labels = generator.random(count) < 1 / (1 + np.exp(-logits))
    records = [
        Record(text=repr(float(logit)), label=int(label), unit=str(at))
        for at, (logit, label) in enumerate(zip(logits, labels, strict=True))
    ]
    return Corpus(tests={"north": tuple(records)})


def sure(times: float) -> Subject:
    """A model that takes every logit `times` over: its temperature should be just that."""

    def says(text: str) -> tuple[float, float]:
        positive = 1 / (1 + np.exp(-times * float(text)))
        return 1 - positive, positive

    return a_classifier(says)


def figures(subject: Subject, corpus: Corpus) -> dict[str, Figure]:
    found = CALIBRATION.measure(subject, corpus).findings
    return {figure.key: figure for figure in found.figures}


@pytest.mark.parametrize("times", [0.5, 2.0, 4.0])
def test_a_planted_temperature_is_found_and_mends_the_error(times: float) -> None:
    found = figures(sure(times), a_world(1, 3000))
    temperature = found["temperature"]
    assert temperature.low is not None and temperature.high is not None
    assert temperature.low <= times <= temperature.high
    assert temperature.value == pytest.approx(times, rel=0.15)
    assert found["ece_scaled"].value < 0.5 * found["ece"].value
    # Too sure above 1, not sure enough below it.
    assert np.sign(found["overconfidence"].value) == np.sign(times - 1)


def test_no_figure_is_shown_by_two_audits() -> None:
    """The calibration error stood under validation too, to be read twice."""
    subject, corpus = sure(1.0), a_world(4, 100)
    asked = (CALIBRATION, Validation(ValidationOptions(resamples=100)))
    found = [audit.measure(subject, corpus).findings.figures for audit in asked]
    first, second = ({figure.words for figure in figures} for figures in found)
    assert first and second and not first & second


def test_a_calibrated_model_is_not_called_too_sure() -> None:
    """25 worlds: zero outside the 95 % interval of overconfidence, or one outside that of the
    temperature, is a false alarm. With a true rate of 5 %, more than 4 of 25 come in 0.7 %."""
    alarms = np.zeros(2)
    for seed in range(25):
        found = figures(sure(1.0), a_world(seed, 300))
        for at, (key, truth) in enumerate((("overconfidence", 0.0), ("temperature", 1.0))):
            low, high = found[key].low, found[key].high
            assert low is not None and high is not None
            alarms[at] += not low <= truth <= high
    assert (alarms <= 4).all(), alarms


def fitted(probabilities: np.ndarray, labels: np.ndarray) -> Temperature:
    said, units = Outcomes.of(probabilities, labels), Units.apart(labels.size)
    return cross_fitted(said, labels, units=units, resamples=100)


def test_the_temperature_is_that_of_an_optimiser() -> None:
    """Catches a grid that is too coarse or turned around; three classes."""
    generator = np.random.default_rng(5)
    labels = generator.integers(3, size=501)
    logits = generator.normal(size=(501, 3)) + 2.0 * np.eye(3)[labels]
    probabilities = np.exp(log_softmax(3 * logits, axis=1))
    found = fitted(probabilities, labels)

    def loss(log_temperature: float, rows: slice) -> float:
        logs = log_softmax(3 * logits[rows] / np.exp(log_temperature), axis=1)
        return -float(logs[np.arange(len(logs)), labels[rows]].mean())

    for half, rows in zip(found.halves, (slice(0, None, 2), slice(1, None, 2)), strict=True):
        best = minimize_scalar(loss, args=(rows,), bounds=(-3, 3), method="bounded").x
        assert half.temperature == pytest.approx(np.exp(best), rel=0.01)
        # Found on one half, tried on the other.
        assert set(half.tried) == set(range(501)) - set(range(501)[rows])


def test_no_record_is_scaled_by_a_temperature_that_saw_it() -> None:
    """Changing a record's label must leave its own scaled probabilities alone."""
    generator = np.random.default_rng(6)
    probabilities = generator.dirichlet((1, 1), size=40)
    labels = generator.integers(2, size=40)
    turned = labels.copy()
    turned[7] = 1 - turned[7]
    before, after = (fitted(probabilities, of).scaled.probabilities for of in (labels, turned))
    assert before is not None and after is not None
    assert np.array_equal(before[1::2], after[1::2])
    assert not np.array_equal(before[::2], after[::2])


def test_brier_is_counted_by_hand() -> None:
    said = {"x": (0.8, 0.2), "y": (0.4, 0.6)}
    records = (
        Record(text="x", label=0, unit="1"),
        Record(text="y", label=0, unit="2"),
    )
    found = figures(a_classifier(lambda text: said[text]), Corpus(tests={"north": records}))
    assert found["brier"].value == pytest.approx((2 * 0.2**2 + 2 * 0.6**2) / 2)
    assert found["overconfidence"].value == pytest.approx(0.7 - 0.5)


def test_the_reliability_plot_has_each_record_in_one_bin() -> None:
    found = CALIBRATION.measure(sure(2.0), a_world(2, 500)).findings
    chart = found.charts[0]
    assert chart.diagonal
    for series in chart.series:
        assert list(series.x) == sorted(series.x)
        assert min(series.x) >= 0.5


def test_free_answers_have_no_calibration() -> None:
    subject = a_speaker(lambda prompt, answer: -1.0)
    corpus = a_world(0, 5)
    assert "free text" in CALIBRATION.why_not(subject, corpus)
    assert "free text" in Selective(SelectiveOptions()).why_not(subject, corpus)


def curve(
    sure: np.ndarray, right: np.ndarray, *, coverages: Sequence[float], resamples: int
) -> RiskCoverage:
    units = Units.apart(right.size)
    return risk_coverage(sure, right, units=units, coverages=coverages, resamples=resamples)


def test_the_curve_is_counted_by_hand() -> None:
    """Surest first: right, right, wrong, right, wrong."""
    confidence = np.array([0.6, 0.9, 0.7, 0.8, 0.99])
    right = np.array([False, True, True, False, True])
    found = curve(confidence, right, coverages=(0.2, 0.5, 0.6, 0.8, 1.0), resamples=100)
    shares = [found.accuracy[at].value for at in (0.2, 0.5, 0.6, 0.8, 1.0)]
    assert shares == pytest.approx([1, 2 / 3, 2 / 3, 3 / 4, 3 / 5])
    assert found.area.value == pytest.approx((0 + 0 + 1 / 3 + 1 / 4 + 2 / 5) / 5)


def test_equal_confidence_counts_as_its_mean_in_any_order() -> None:
    """Catches a curve that depends on the order in which records lie."""
    confidence = np.array([0.9, 0.5, 0.5, 0.5, 0.5])
    for places in ((1, 2), (3, 4), (1, 4)):
        right = np.array([at == 0 or at in places for at in range(5)])
        found = curve(confidence, right, coverages=(0.4, 0.8), resamples=100)
        assert found.accuracy[0.4].value == pytest.approx((1 + 0.5) / 2)
        assert found.accuracy[0.8].value == pytest.approx((1 + 3 * 0.5) / 4)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """200 samples of 200 from a model whose accuracy grows with confidence; the truth is that of
    a very large sample. 95 % of intervals hold it; fewer than 90 % of 200 come in less than 1 %."""
    generator = np.random.default_rng(9)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
        confidence = 0.5 + generator.random(count) / 2
        return confidence, generator.random(count) < confidence

    truth = curve(*drawn(400_000), coverages=(0.5,), resamples=1)
    held = np.zeros(2)
    for _ in range(200):
        found = curve(*drawn(200), coverages=(0.5,), resamples=200)
        for at, (one, true) in enumerate(
            ((found.accuracy[0.5], truth.accuracy[0.5]), (found.area, truth.area))
        ):
            held[at] += one.low <= true.value <= one.high
    assert (held >= 180).all(), held


def test_confidence_that_says_nothing_gains_nothing() -> None:
    """And confidence that knows gains much: the planted difference is seen."""
    generator = np.random.default_rng(4)
    right = generator.random(2000) < 0.7
    blind = curve(generator.random(2000), right, coverages=(0.5,), resamples=200)
    seeing = curve(right + generator.random(2000), right, coverages=(0.5,), resamples=200)
    assert blind.accuracy[0.5].low < 0.7 < blind.accuracy[0.5].high
    assert seeing.accuracy[0.5].value == 1 and seeing.area.high < blind.area.low


def test_the_option_asks_for_other_coverages() -> None:
    found = Selective(SelectiveOptions(coverages=(0.9,), resamples=100)).measure(
        sure(1.0), a_world(3, 200)
    )
    assert [figure.key for figure in found.findings.figures] == ["accuracy_at_90", "aurc"]


def test_a_figure_of_the_surest_counts_those_alone() -> None:
    """A rule that wants 150 records is not met by the surest half of 200."""
    found = Selective(SelectiveOptions(coverages=(0.5,), resamples=100)).measure(
        sure(1.0), a_world(3, 200)
    )
    assert [figure.records for figure in found.findings.figures] == [100, 200]
