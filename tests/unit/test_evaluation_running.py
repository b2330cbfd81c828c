"""Running a suite: adapters switched on one bench, findings kept, differences in pairs."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from fedloom.server.evaluator.audits.base import Measured, Options, found_by, share_figure
from fedloom.server.evaluator.bench import Bench, plan_bench
from fedloom.server.evaluator.cache import FindingsCache
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.evaluator.running import Base, evaluate
from fedloom.server.evaluator.subject import Candidate, Subject
from fedloom.server.evaluator.suite import Suite
from fedloom.server.initial import initial_adapter
from fedloom.shared.adapter import Adapter
from fedloom.shared.data.records import Record
from fedloom.shared.errors import AssetError, BrokenModelError, EvaluationError, FedLoomError
from fedloom.shared.plan import Plan
from fedloom.shared.words import without_folders
from tests.support.tiny import sentences
from tests.support.training import make_plan

LABELS = ("negative", "positive")


@dataclass
class Counting:
    """An audit that knows how often it was asked."""

    name: str = "counting"
    title: str = "Counting"
    asks: str = "How often is it right?"
    reason: str = ""
    asked: list[str] = field(default_factory=list)

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        return self.reason

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        self.asked.append(subject.candidate.name)
        right = subject.outcomes(corpus.joint).right.astype(float)
        figure = share_figure("accuracy", "right", right, better="higher")
        findings = found_by(self).model_copy(update={"figures": (figure,)})
        return Measured(findings=findings, samples={"accuracy": right})


@dataclass
class Copying(Counting):
    """The same of ten copies of each record, which are one text."""

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        found = super().measure(subject, corpus)
        right = np.repeat(found.samples["accuracy"], 10)
        names = [f"text {at // 10}" for at in range(right.size)]
        return replace(found, samples={"accuracy": right}, clusters={"accuracy": names})


class Silent(Counting):
    """An audit that asks the adapter nothing."""

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        figure = share_figure("asked", "asked", np.ones(30), better="none")
        return Measured(findings=found_by(self).model_copy(update={"figures": (figure,)}))


class Sized(Options):
    size: int = 1


@pytest.fixture
def plan(tiny_model: Path) -> Plan:
    return make_plan(tiny_model)


@pytest.fixture
def bench(plan: Plan, tiny_model: Path) -> Bench:
    return plan_bench(plan, tiny_model, batch_size=8)


@pytest.fixture
def start(plan: Plan, tiny_model: Path) -> Adapter:
    return initial_adapter(plan, tiny_model)


@pytest.fixture
def corpus() -> Corpus:
    rows = sentences(40, seed=1)
    records = tuple(
        Record(text=row["text"], label=LABELS.index(row["label"]), unit="") for row in rows
    )
    return Corpus(tests={"north": records[:25], "south": records[25:]})


def moved(adapter: Adapter, seed: int) -> Adapter:
    noise = np.random.default_rng(seed).normal(size=adapter.flat.size, scale=0.5)
    return Adapter(layout=adapter.layout, flat=(adapter.flat + noise).astype(np.float32))


def named(name: str, adapter: Adapter) -> Candidate:
    return Candidate(name=name, kind="federation", description="", adapter=adapter)


def suite_of(audit: Counting, size: int = 1) -> Suite:
    return Suite(
        name="ours",
        batch_size=8,
        records=None,
        audits={audit.name: audit},
        options={audit.name: Sized(size=size)},
    )


Run = Callable[..., Evaluation]


@pytest.fixture
def run(bench: Bench, corpus: Corpus) -> Run:
    def run(suite: Suite, *candidates: Candidate, cache: FindingsCache | None = None) -> Evaluation:
        base = Base(name="tiny", sha256="0" * 64)
        return evaluate(suite, bench, candidates, corpus, base=base, cache=cache)

    return run


def test_one_bench_says_of_each_adapter_what_a_bench_of_its_own_does(
    plan: Plan, bench: Bench, tiny_model: Path, start: Adapter, corpus: Corpus
) -> None:
    for seed in (1, 2, 1):
        adapter = moved(start, seed)
        ours = bench.subject(named("one", adapter)).outcomes(corpus.joint)
        alone = plan_bench(plan, tiny_model, batch_size=8).subject(named("one", adapter))
        np.testing.assert_array_equal(ours.loss, alone.outcomes(corpus.joint).loss)


def test_the_same_records_are_passed_through_the_model_once(
    bench: Bench, start: Adapter, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    scorer = type(bench.subject(named("one", start)).scorer)
    real = scorer.outcomes
    monkeypatch.setattr(
        scorer, "outcomes", lambda self, rows: passes.append(len(rows)) or real(self, rows)
    )
    first = bench.subject(named("one", start)).outcomes(corpus.joint)
    assert bench.subject(named("again", start)).outcomes(corpus.joint) is first
    bench.subject(named("other", moved(start, 1))).outcomes(corpus.joint)
    bench.subject(named("one", start)).outcomes(corpus.joint[:7])
    assert passes == [40, 40, 7]


def test_an_adapter_of_another_shape_is_refused_by_name(bench: Bench) -> None:
    other = Adapter.from_state({"lora": np.zeros((2, 2), np.float32)})
    with pytest.raises(EvaluationError, match="theirs: an adapter of another shape"):
        bench.subject(named("theirs", other))


def test_differences_are_taken_in_pairs_against_the_one_that_may_be_released(
    run: Run, start: Adapter
) -> None:
    found = run(suite_of(Counting()), named("ours", moved(start, 3)), named("base", start))
    figures = [one.audits[0].figures[0].value for one in found.subjects]
    (comparison,) = found.comparisons
    assert (comparison.subject, comparison.against) == ("ours", "base")
    assert comparison.difference == pytest.approx(figures[0] - figures[1])
    assert comparison.records == 40


def test_what_was_measured_is_not_measured_again(run: Run, start: Adapter, tmp_path: Path) -> None:
    audit = Counting()
    cache = FindingsCache(tmp_path, model_sha256="m", corpus_sha256="c", about="a")
    once = run(suite_of(audit), named("ours", start), cache=cache)
    again = run(suite_of(audit), named("ours", start), named("base", moved(start, 1)), cache=cache)
    assert audit.asked == ["ours", "base"]
    assert again.subject.audits == once.subject.audits
    assert len(again.comparisons) == 1


def test_values_of_one_text_are_compared_as_one(run: Run, start: Adapter, tmp_path: Path) -> None:
    """Also when they come from a file."""
    cache = FindingsCache(tmp_path, model_sha256="m", corpus_sha256="c", about="a")
    candidates = named("ours", moved(start, 3)), named("base", start)
    (once,) = run(suite_of(Counting()), *candidates).comparisons
    for _ in range(2):
        (copied,) = run(suite_of(Copying()), *candidates, cache=cache).comparisons
        assert copied.records == once.records == 40
        assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


@pytest.mark.parametrize("part", ["adapter", "options", "model", "records", "about", "damage"])
def test_what_differs_is_measured_anew(run: Run, start: Adapter, tmp_path: Path, part: str) -> None:
    audit = Counting()
    cache = FindingsCache(tmp_path, model_sha256="m", corpus_sha256="c", about="a")
    run(suite_of(audit), named("ours", start), cache=cache)
    size, adapter = 1, start
    if part == "adapter":
        adapter = moved(start, 1)
    elif part == "options":
        size = 2
    elif part == "damage":
        for path in tmp_path.glob("*.json"):
            path.write_bytes(path.read_bytes()[:-20])
    else:
        key = {"model": "model_sha256", "records": "corpus_sha256"}.get(part, part)
        told = {"model_sha256": "m", "corpus_sha256": "c", "about": "a", key: "other"}
        cache = FindingsCache(tmp_path, **told)
    run(suite_of(audit, size), named("ours", adapter), cache=cache)
    assert len(audit.asked) == 2


def test_an_audit_that_does_not_apply_says_why_and_gives_no_number(
    run: Run, start: Adapter
) -> None:
    audit = Counting(reason="it reads no minds")
    (findings,) = run(suite_of(audit), named("ours", start)).subject.audits
    assert (findings.state, findings.why_not) == ("does not apply", "it reads no minds")
    assert findings.figures == ()
    assert audit.asked == []


def beside_one_that_raises(error: FedLoomError) -> Suite:
    class Raising(Counting):
        def measure(self, subject: Subject, corpus: Corpus) -> Measured:
            raise error

    return replace(
        suite_of(Counting()),
        audits={"raising": Raising(name="raising"), "counting": Counting()},
        options={"raising": Sized(), "counting": Sized()},
    )


@pytest.mark.parametrize(
    "error",
    [
        AssetError("assets x: not in /home/ada/cache, and the network may not be asked"),
        EvaluationError("explanations: no record has a word, expected at least one"),
    ],
)
def test_what_one_audit_lacks_costs_it_alone(run: Run, start: Adapter, error: FedLoomError) -> None:
    first, second = run(beside_one_that_raises(error), named("ours", start)).subject.audits
    assert (first.applies, first.state, first.why_not) == (
        True,
        "not measured",
        without_folders(str(error)),
    )
    assert "ada" not in first.why_not, "findings may leave, and folders are nobody's business"
    assert second.measured


def test_a_broken_model_ends_the_evaluation(run: Run, start: Adapter) -> None:
    """Answers that are no numbers, of a real model too, are no matter of one audit."""
    with pytest.raises(BrokenModelError, match="finite"):
        run(beside_one_that_raises(BrokenModelError("not finite")), named("ours", start))
    flat = np.full_like(start.flat, np.nan)
    with pytest.raises(BrokenModelError, match="not finite") as caught:
        run(suite_of(Counting()), named("ours", Adapter(layout=start.layout, flat=flat)))
    assert "\n" not in str(caught.value)


def test_an_evaluation_names_its_records(run: Run, start: Adapter, corpus: Corpus) -> None:
    assert run(suite_of(Counting()), named("ours", start)).corpus_sha256 == corpus.sha256


def said(bench: Bench, adapter: Adapter, corpus: Corpus) -> set[int]:
    """The labels that an adapter gives."""
    found = bench.subject(named("one", adapter)).outcomes(corpus.joint).probabilities
    assert found is not None
    return set(found.argmax(axis=1))


def test_one_answer_to_everything_does_not_pass_for_fairness(
    run: Run, bench: Bench, corpus: Corpus, start: Adapter
) -> None:
    state = {name: np.zeros_like(values) for name, values in start.state().items()}
    bias = next(name for name in state if name.endswith("bias"))
    state[bias] = np.array([0.0, 50.0], dtype=np.float32)
    # Whether or not an audit asks the records itself, and asked first.
    silent = run(suite_of(Silent()), named("ours", Adapter.from_state(state)))
    stubborn = run(suite_of(Counting()), named("ours", Adapter.from_state(state)))
    assert silent.subject.audits[0].caveats == stubborn.subject.audits[0].caveats
    assert "It answers positive to each of 40 records" in stubborn.subject.audits[0].caveats[0]
    told = (moved(start, seed) for seed in range(100))
    both = next(one for one in told if len(said(bench, one, corpus)) == 2)
    other = run(suite_of(Counting()), named("ours", both))
    assert other.subject.audits[0].caveats == ()


def test_what_is_not_compared_is_asked_of_the_first_adapter_alone(run: Run, start: Adapter) -> None:
    audit = Counting()
    suite = replace(suite_of(audit), not_compared=frozenset({"counting"}))
    found = run(suite, named("ours", start), named("base", moved(start, 1)))
    assert audit.asked == ["ours"]
    assert [one.audits[0].measured for one in found.subjects] == [True, False]
    assert found.comparisons == ()


def test_what_is_resampled_is_told_once_where_units_have_several_records(
    bench: Bench, start: Adapter, corpus: Corpus
) -> None:
    """In the evaluation, not in each figure; and nothing is told where each record is alone."""
    people = {
        site: tuple(replace(record, unit=str(at // 5)) for at, record in enumerate(records))
        for site, records in corpus.tests.items()
    }
    base = Base(name="tiny", sha256="0" * 64)
    for unit, told in (("patient", 1), ("record", 0)):
        mine = Corpus(tests=people, unit=unit)
        found = evaluate(suite_of(Counting()), bench, [named("ours", start)], mine, base=base)
        assert len(found.caveats) == told
        if told:
            assert found.caveats[0].startswith("The 40 labelled records are of 8 units (patient)")


def test_the_corpus_has_another_digest_with_other_records_or_groups(corpus: Corpus) -> None:
    north = corpus.tests["north"]
    others = [
        Corpus(tests={"north": north}),
        Corpus(tests=corpus.tests, members={"north": north}),
        Corpus(tests=corpus.tests, groups={"sex": ("f",) * 40}),
        Corpus(tests={"south": corpus.tests["south"], "north": north}),
    ]
    assert len({corpus.sha256, *(other.sha256 for other in others)}) == 5
