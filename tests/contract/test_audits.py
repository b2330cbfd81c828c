"""What every audit must hold, whatever it asks. A new one: one line in `CASES`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fedloom.server.evaluator.audits.base import Audit, Measured
from fedloom.server.evaluator.audits.registry import AUDITS
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import AuditFindings
from fedloom.server.evaluator.running import Base, evaluate
from fedloom.server.evaluator.subject import Subject
from fedloom.server.evaluator.suite import Suite
from fedloom.shared.config.sections import TaskSection
from fedloom.shared.data.records import Record
from fedloom.shared.errors import EvaluationError
from tests.support.language import questions, write_tiny_llama
from tests.support.subjects import SENTIMENT, a_sentiment, a_tiny_model, write_task
from tests.support.subjects import broken as breaking
from tests.support.tiny import sentences

LABELS = ("good", "bad")
# Sums of absolute values: resamples lie higher than the value, as the audits themselves say.
ABSOLUTE = ("ece", "ece_scaled")


def _reviews(count: int) -> tuple[Record, ...]:
    found = []
    for number, row in enumerate(sentences(count, seed=3)):
        label = SENTIMENT.index(row["label"])
        text = f"{row['text']} Mary and I do not mind, {number + 2} times."
        found.append(Record(text=text, label=label, unit=str(number), answer=row["label"]))
    return tuple(found)


REVIEWS = Corpus(tests={"north": _reviews(60), "south": _reviews(40)[::-1]})
ASKED = Corpus(tests={"north": tuple(questions(24)), "south": tuple(questions(16, seed=1))})
SPOKEN = Corpus(tests={"north": tuple(questions(24, free=True))})
EMPTY = Corpus(tests={"north": ()})


def sentiment(folder: Path) -> Subject:
    """A classifier that is often right and sometimes not."""

    def says(text: str) -> tuple[float, float]:
        share = 0.5 + 0.45 * np.tanh(sum(map(ord, text)) % 17 / 8 - 1)
        return (1 - share, share) if "good" not in text else (0.1, 0.9)

    return a_sentiment(says)


def chooser(folder: Path) -> Subject:
    """A tiny causal model that answers with labels."""
    task = TaskSection(kind="causal-lm", labels=LABELS)
    return a_tiny_model(write_tiny_llama(folder / "model"), task)


def speaker(folder: Path) -> Subject:
    """A tiny causal model that answers freely."""
    return a_tiny_model(write_tiny_llama(folder / "model"), TaskSection(kind="causal-lm"))


def quick(folder: Path) -> Mapping[str, object]:
    return {"resamples": 100}


def defaults(folder: Path) -> Mapping[str, object]:
    return {}


def own_task(folder: Path) -> Mapping[str, object]:
    return {"tasks": [str(write_task(folder / "task", ASKED.joint, LABELS))]}


@dataclass(frozen=True)
class Case:
    """A subject and records that an audit applies to, and its options."""

    subject: Callable[[Path], Subject]
    corpus: Corpus
    options: Callable[[Path], Mapping[str, object]] = defaults


CASES: Mapping[str, Case] = {
    "validation": Case(sentiment, REVIEWS, quick),
    "calibration": Case(sentiment, REVIEWS, quick),
    "selective": Case(sentiment, REVIEWS, quick),
    "behaviour": Case(sentiment, REVIEWS),
    "multiple-choice": Case(chooser, ASKED, lambda folder: {"shots": [0, 2]}),
    "lm-eval": Case(chooser, ASKED, own_task),
}
every_audit = pytest.mark.parametrize("name", AUDITS)


def made(name: str, folder: Path) -> Audit:
    kind = AUDITS[name]
    return kind.make(kind.options.model_validate(CASES[name].options(folder)))


def measured(name: str, folder: Path) -> Measured:
    case = CASES[name]
    audit, subject = made(name, folder), case.subject(folder)
    assert audit.why_not(subject, case.corpus) == ""
    return audit.measure(subject, case.corpus)


def test_every_audit_has_a_case() -> None:
    assert set(CASES) == set(AUDITS)


@every_audit
def test_its_name_is_the_registrys(name: str, tmp_path: Path) -> None:
    audit = made(name, tmp_path)
    assert audit.name == name
    assert audit.title and audit.asks.endswith("?")


@every_audit
def test_two_runs_say_the_same(name: str, tmp_path: Path) -> None:
    first, second = measured(name, tmp_path), measured(name, tmp_path)
    assert first.findings == second.findings
    assert first.samples.keys() == second.samples.keys()
    assert all(np.array_equal(first.samples[key], second.samples[key]) for key in first.samples)


@every_audit
def test_its_findings_are_sound(name: str, tmp_path: Path) -> None:
    """Keys once, values within their intervals, samples that average to their figure, rows and
    series as long as they say, and the same findings after a file."""
    found = measured(name, tmp_path)
    findings = found.findings
    assert findings.audit == name and findings.applies
    keys = [figure.key for figure in findings.figures]
    assert keys and len(set(keys)) == len(keys)
    for figure in findings.figures:
        assert figure.records > 0
        if figure.low is not None and figure.high is not None and figure.key not in ABSOLUTE:
            assert figure.low <= figure.value <= figure.high, figure
    values = {figure.key: figure.value for figure in findings.figures}
    for key, sample in found.samples.items():
        assert sample.mean() == pytest.approx(values[key]), key
    for table in findings.tables:
        assert all(len(row) == len(table.columns) for row in table.rows), table.title
    for chart in findings.charts:
        for series in chart.series:
            lengths = {len(series.x), len(series.y), len(series.low or series.x)}
            assert lengths == {len(series.high or series.x)}, series.name
    assert AuditFindings.model_validate_json(findings.model_dump_json()) == findings


@every_audit
def test_nan_is_an_error_and_no_figure(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    with pytest.raises(EvaluationError, match="finite"):
        made(name, tmp_path).measure(breaking(case.subject(tmp_path)), case.corpus)


@dataclass(frozen=True)
class _Bench:
    only: Subject

    def subject(self, candidate: object) -> Subject:
        return self.only


@every_audit
def test_where_it_does_not_apply_it_says_why_and_measures_nothing(
    name: str, tmp_path: Path
) -> None:
    audit = made(name, tmp_path)
    refused = 0
    for make in (sentiment, chooser, speaker):
        subject = make(tmp_path)
        for corpus in (EMPTY, REVIEWS, ASKED, SPOKEN):
            if not audit.why_not(subject, corpus):
                continue
            refused += 1
            suite = Suite(name="one", batch_size=8, records=None, audits={name: audit}, options={})
            base = Base(name="tiny", sha256="0")
            found = evaluate(suite, _Bench(subject), [subject.candidate], corpus, base=base)
            findings = found.subject.audits[0]
            assert not findings.applies and findings.why_not
            assert not findings.figures and not findings.tables and not findings.charts
    assert refused, "it applies to everything, even to no records at all"
