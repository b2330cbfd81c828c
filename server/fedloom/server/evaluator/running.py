"""Runs a suite over adapters: one load of the base model, each audit once for each adapter."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np

from fedloom.server.evaluator.audits.base import Audit, Measured, Missing, found_by
from fedloom.server.evaluator.bench import Bench
from fedloom.server.evaluator.cache import FindingsCache
from fedloom.server.evaluator.corpus import Corpus, pick
from fedloom.server.evaluator.evaluation import Comparison, Evaluation, SubjectFindings
from fedloom.server.evaluator.findings import AuditFindings
from fedloom.server.evaluator.statistics import number_of, paired
from fedloom.server.evaluator.subject import Candidate, Subject
from fedloom.server.evaluator.suite import Suite
from fedloom.shared.errors import AssetError, BrokenModelError, EvaluationError
from fedloom.shared.words import count, without_folders

_BESIDE = Missing("asked of the adapter that may be released alone")
# So many records tell whether an adapter has one answer to everything.
_ASKED = 200
# Told of each audit as it ends: adapter, audit, and one line of what it found.
Told = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Base:
    """The base model by name and fingerprint."""

    name: str
    sha256: str


def evaluate(
    suite: Suite,
    bench: Bench,
    candidates: Sequence[Candidate],
    corpus: Corpus,
    *,
    base: Base,
    cache: FindingsCache | None = None,
    told: Told = lambda _: None,
) -> Evaluation:
    """Run every audit on every candidate; the first is the one that may be released.

    Others are what it is compared with, in pairs on the same records.

    Raises:
        EvaluationError: an adapter of another model.
        BrokenModelError: answers that are no numbers.
    """
    began = time.monotonic()
    runner = _Runner(suite=suite, corpus=corpus, cache=cache)
    measured: dict[str, dict[str, Measured]] = {}
    for candidate in candidates:
        subject = bench.subject(candidate)
        measured[candidate.name] = {}
        for name in suite.audits:
            found = runner.ask(name, subject, first=candidate is candidates[0])
            measured[candidate.name][name] = found
            told(f"{candidate.name}, {name}: {_in_short(found.findings)}")
    return Evaluation(
        fedloom=version("fedloom"),
        suite=suite.name,
        suite_sha256=suite.sha256,
        corpus_sha256=corpus.sha256,
        held_out=corpus.held_out,
        model_name=base.name,
        model_sha256=base.sha256,
        about=candidates[0].name,
        subjects=tuple(_findings(one, measured[one.name]) for one in candidates),
        comparisons=tuple(_comparisons(measured, candidates[0].name)),
        caveats=tuple(_what_is_resampled(corpus)),
        seconds=time.monotonic() - began,
    )


@dataclass(frozen=True, kw_only=True)
class _Runner:
    suite: Suite
    corpus: Corpus
    cache: FindingsCache | None

    def ask(self, name: str, subject: Subject, *, first: bool) -> Measured:
        """What an audit says; a benchmark that is missing, or records that it cannot measure,
        cost that audit alone. A broken model ends all of them."""
        audit = self.suite.audits[name]
        if not first and name in self.suite.not_compared:
            return _unasked(audit, _BESIDE)
        why_not = audit.why_not(subject, self.corpus)
        if why_not:
            return _unasked(audit, why_not)
        try:
            return self._kept(name, audit, subject)
        except BrokenModelError:
            raise
        except (AssetError, EvaluationError) as error:
            return _unasked(audit, Missing(without_folders(str(error))))

    def _kept(self, name: str, audit: Audit, subject: Subject) -> Measured:
        adapter, options = subject.candidate.adapter.sha256, self.suite.options[name]
        found = self.cache.find(adapter, name, options) if self.cache else None
        if found is None:
            found = _with_warning(audit.measure(subject, self.corpus), subject, self.corpus)
            if self.cache:
                self.cache.keep(adapter, name, options, found)
        return found


def _with_warning(measured: Measured, subject: Subject, corpus: Corpus) -> Measured:
    """An adapter that gives all records one label is moved by nothing, which must not pass for
    fairness."""
    places = pick(_ASKED, of=len(corpus.joint)) if subject.classifies else []
    given = _given(subject, corpus, places)
    if len(given) != 1:
        return measured
    warning = (
        f"It answers {subject.labels[given.pop()]} to each of {count(len(places), 'record')}: "
        "nothing moves it, and figures of what does not change it say nothing good of it."
    )
    caveats = (warning, *measured.findings.caveats)
    return replace(measured, findings=measured.findings.model_copy(update={"caveats": caveats}))


def _given(subject: Subject, corpus: Corpus, places: Sequence[int]) -> set[int]:
    """The labels that some records get; one pass over them, unless it was made for all."""
    if not places:
        return set()
    known = subject.memory.get(corpus.joint)
    found = (
        subject.outcomes([corpus.joint[at] for at in places])
        if known is None
        else known[np.array(places)]
    )
    return set() if found.probabilities is None else set(found.probabilities.argmax(axis=1))


def _unasked(audit: Audit, why_not: str) -> Measured:
    said = {"applies": isinstance(why_not, Missing), "why_not": str(why_not)}
    return Measured(findings=found_by(audit).model_copy(update=said))


def _findings(candidate: Candidate, measured: Mapping[str, Measured]) -> SubjectFindings:
    return SubjectFindings(
        name=candidate.name,
        kind=candidate.kind,
        description=candidate.description,
        adapter_sha256=candidate.adapter.sha256,
        epsilon=candidate.epsilon,
        audits=tuple(found.findings for found in measured.values()),
    )


def _comparisons(
    measured: Mapping[str, Mapping[str, Measured]], about: str
) -> Iterator[Comparison]:
    for audit, ours in measured[about].items():
        for other, audits in measured.items():
            for key, values in ours.samples.items() if other != about else ():
                theirs = audits[audit].samples.get(key)
                if theirs is None or theirs.size != values.size:
                    continue
                clusters = ours.clusters.get(key)
                found = paired(values, theirs, clusters=clusters)
                yield Comparison(
                    audit=audit,
                    key=key,
                    subject=about,
                    against=other,
                    difference=found.difference,
                    low=found.low,
                    high=found.high,
                    p_value=found.p_value,
                    records=number_of(values, clusters),
                )


def _what_is_resampled(corpus: Corpus) -> Iterator[str]:
    units = corpus.units
    if not units.alone:
        records, of = count(len(corpus.joint), "labelled record"), count(units.count, "unit")
        yield (
            f"The {records} are of {of} ({corpus.unit}), and several of one are not independent: "
            "intervals and tests over records resample whole units, and figures say on how many "
            "units they were measured."
        )


def _in_short(findings: AuditFindings) -> str:
    if not findings.measured:
        return f"{findings.state}, {findings.why_not}"
    return ", ".join(f"{one.key} {one.value:.3f}" for one in findings.figures[:3]) or "done"
