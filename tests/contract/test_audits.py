"""What every audit must hold, whatever it asks. A new one: one line in `CASES`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from fedloom.server.evaluator.audits.base import Audit, Measured, Missing, Options
from fedloom.server.evaluator.audits.registry import AUDITS
from fedloom.server.evaluator.cache import FindingsCache
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import AuditFindings
from fedloom.server.evaluator.running import Base, evaluate
from fedloom.server.evaluator.statistics import number_of
from fedloom.server.evaluator.subject import Subject
from fedloom.server.evaluator.suite import Suite
from fedloom.shared.errors import BrokenModelError
from tests.support.audit_cases import (
    ASKED,
    EMPTY,
    REVIEWS,
    SPOKEN,
    SURE,
    THREE,
    asked,
    canaries,
    chooser,
    defaults,
    encoder,
    fresh,
    own_task,
    public,
    quick,
    reviews,
    sentiment,
    speaker,
    trained,
    translator,
)
from tests.support.subjects import broken

# Sums of absolute values: resamples lie higher than the value, as the audits themselves say.
ABSOLUTE = ("ece", "ece_scaled")
# What lies between bounds is not certain because nothing differed in these records.
BOUNDED = ("share", "difference")


@dataclass(frozen=True)
class Case:
    """A subject and records that an audit applies to, and its options."""

    subject: Callable[[Path], Subject]
    corpus: Callable[[Path], Corpus]
    options: Callable[[Path], Mapping[str, object]] = defaults


CASES: Mapping[str, Case] = {
    "validation": Case(sentiment, reviews, quick),
    "calibration": Case(sentiment, reviews, quick),
    "selective": Case(sentiment, reviews, quick),
    "multiple-choice": Case(chooser, asked, lambda folder: {"shots": [0, 2]}),
    "lm-eval": Case(chooser, asked, own_task),
    "behaviour": Case(sentiment, reviews),
    "groups": Case(sentiment, reviews, quick),
    "swaps": Case(sentiment, reviews, lambda folder: {"axes": ["gender", "names"]}),
    "bbq": Case(speaker, public, lambda folder: {"categories": ["Age", "Religion"]}),
    "winobias": Case(speaker, public),
    "winogender": Case(speaker, public),
    "honest": Case(speaker, public),
    "crows-pairs": Case(speaker, public),
    "membership": Case(sentiment, trained),
    "exposure": Case(speaker, asked, canaries),
    "explanations": Case(encoder, reviews, lambda folder: {"records": 8}),
}
every_audit = pytest.mark.parametrize("name", AUDITS)


def made(name: str, folder: Path) -> Audit:
    kind = AUDITS[name]
    return kind.make(kind.options.model_validate(CASES[name].options(folder)))


def measured(name: str, folder: Path) -> Measured:
    case = CASES[name]
    audit, subject, corpus = made(name, folder), case.subject(folder), case.corpus(folder)
    assert audit.why_not(subject, corpus) == ""
    return audit.measure(fresh(subject), corpus)


@cache
def once(name: str, folder: Path) -> Measured:
    return measured(name, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audited")


def test_every_audit_has_a_case() -> None:
    assert set(CASES) == set(AUDITS)


@every_audit
def test_its_name_is_the_registrys(name: str, folder: Path) -> None:
    audit = made(name, folder)
    assert audit.name == name
    assert audit.title and audit.asks.endswith("?")


@every_audit
def test_two_runs_say_the_same(name: str, folder: Path) -> None:
    first, second = once(name, folder), measured(name, folder)
    assert first.findings == second.findings
    assert first.samples.keys() == second.samples.keys()
    assert all(np.array_equal(first.samples[key], second.samples[key]) for key in first.samples)
    assert first.clusters == second.clusters


@every_audit
def test_its_findings_are_sound(name: str, folder: Path) -> None:
    """Keys once, values within their intervals, rows and series as long as they say, and the same
    findings after a file."""
    found = once(name, folder)
    findings = found.findings
    assert findings.audit == name and findings.applies
    keys = [figure.key for figure in findings.figures]
    assert keys and len(set(keys)) == len(keys)
    for figure in findings.figures:
        assert figure.records > 0
        if figure.low is not None and figure.high is not None and figure.key not in ABSOLUTE:
            assert figure.low <= figure.value <= figure.high, figure
            assert figure.low < figure.high or figure.unit not in BOUNDED, figure
    for table in findings.tables:
        assert all(len(row) == len(table.columns) for row in table.rows), table.title
    for chart in findings.charts:
        for series in chart.series:
            lengths = {len(series.x), len(series.y), len(series.low or series.x)}
            assert lengths == {len(series.high or series.x)}, series.name
    assert AuditFindings.model_validate_json(findings.model_dump_json()) == findings


@every_audit
def test_its_samples_are_those_of_its_figures(name: str, folder: Path) -> None:
    """They average to the figure; it counts as many things as there are values, or texts that
    they come from; and a cache keeps all of them."""
    found = once(name, folder)
    figures = {figure.key: figure for figure in found.findings.figures}
    assert found.clusters.keys() <= found.samples.keys() <= figures.keys()
    for key, sample in found.samples.items():
        clusters = found.clusters.get(key, range(sample.size))
        assert len(clusters) == sample.size
        assert sample.mean() == pytest.approx(figures[key].value), key
        assert len(set(clusters)) == figures[key].records, key
    cache = FindingsCache(folder / "kept", model_sha256="0", corpus_sha256="0", about="0")
    cache.keep("adapter", name, Options(), found)
    kept = cache.find("adapter", name, Options())
    assert kept is not None and kept.findings == found.findings
    for key, sample in found.samples.items():
        assert np.array_equal(kept.samples[key], sample)
        told = number_of(sample, found.clusters.get(key))
        assert number_of(sample, kept.clusters.get(key)) == told


@pytest.mark.parametrize(
    "name", ["validation", "calibration", "selective", "behaviour", "groups", "swaps"]
)
def test_a_few_records_that_all_come_out_right_are_no_certainty(name: str) -> None:
    """Neither in a figure nor in a comparison with an adapter that says the same."""
    kind = AUDITS[name]
    options = kind.options.model_validate({"min_group": 10} if name == "groups" else {})
    # No group of fewer than ten is ever told of.
    twelve = Corpus(tests={"north": THREE.joint * 4, "south": THREE.joint * 4})
    few = twelve if name == "groups" else THREE
    audit = kind.make(options)
    assert audit.why_not(SURE, few) == ""
    suite = Suite(
        name="one", batch_size=8, records=None, audits={name: audit}, options={name: options}
    )
    both = [SURE.candidate, replace(SURE.candidate, name="same")]
    found = evaluate(suite, _Bench(SURE), both, few, base=Base(name="tiny", sha256="0"))
    (findings,) = found.subject.audits
    bounded = [figure for figure in findings.figures if figure.unit in BOUNDED]
    assert bounded
    for figure in bounded:
        assert figure.low is not None and figure.high is not None
        assert figure.low < figure.high, figure
    for pair in found.comparisons:
        if pair.key in ("accuracy", "flip_rate", "negated_praise"):
            assert pair.low < pair.difference == 0.0 < pair.high, pair


@every_audit
def test_nan_is_an_error_and_no_figure(name: str, folder: Path) -> None:
    case = CASES[name]
    with pytest.raises(BrokenModelError, match="finite"):
        made(name, folder).measure(broken(case.subject(folder)), case.corpus(folder))


@dataclass(frozen=True)
class _Bench:
    only: Subject

    def subject(self, candidate: object) -> Subject:
        return self.only


@every_audit
def test_where_it_does_not_apply_it_says_why_and_measures_nothing(name: str, folder: Path) -> None:
    audit = made(name, folder)
    refused = 0
    for make in (sentiment, chooser, speaker, translator):
        subject = make(folder)
        for corpus in (EMPTY, REVIEWS, ASKED, SPOKEN):
            if not audit.why_not(subject, corpus):
                continue
            refused += 1
            suite = Suite(name="one", batch_size=8, records=None, audits={name: audit}, options={})
            base = Base(name="tiny", sha256="0")
            found = evaluate(suite, _Bench(subject), [subject.candidate], corpus, base=base)
            findings = found.subject.audits[0]
            assert not findings.measured and findings.why_not == audit.why_not(subject, corpus)
            assert not findings.figures and not findings.tables and not findings.charts
    assert refused, "it applies to everything, even to no records at all"


@every_audit
def test_what_other_records_would_mend_is_no_trait_of_the_adapter(name: str, folder: Path) -> None:
    """Else a reader takes a privacy audit that lacked records for one that is of no concern."""
    audit = made(name, folder)
    for make in (sentiment, chooser, speaker, translator):
        subject = make(folder)
        reasons = [audit.why_not(subject, corpus) for corpus in (EMPTY, REVIEWS, ASKED, SPOKEN)]
        if not all(reasons):
            assert all(isinstance(reason, Missing) for reason in reasons if reason), reasons
