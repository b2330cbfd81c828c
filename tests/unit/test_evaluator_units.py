"""Whose records are: what counts as one unit, and where it is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedloom.server.evaluator.audits.calibration import Calibration, CalibrationOptions
from fedloom.server.evaluator.audits.groups import Groups, GroupsOptions
from fedloom.server.evaluator.audits.multiple_choice import MultipleChoice, MultipleChoiceOptions
from fedloom.server.evaluator.audits.temperature import cross_fitted
from fedloom.server.evaluator.bench import plan_bench
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.evaluate import Evaluator
from fedloom.server.evaluator.explain.edits import Edit
from fedloom.server.evaluator.explain.summary import edit_figures
from fedloom.server.evaluator.metrics import Outcomes
from fedloom.server.evaluator.units import Units
from fedloom.server.initial import initial_adapter
from fedloom.shared.config.federation import read_federation
from fedloom.shared.data.records import Record
from fedloom.simulation.evaluating import study_corpus
from fedloom.simulation.prepare import prepare
from tests.support.subjects import a_sentiment, a_speaker
from tests.support.tiny import write_federation

PEOPLE = "abacbbd"


def of_people(names: str, *, label: int = 0) -> tuple[Record, ...]:
    return tuple(Record(text="the same", label=label, unit=name, answer="bad") for name in names)


def test_what_is_one_unit_is_what_training_takes_for_one() -> None:
    """Rows with the unit `record`, though their texts, which split them, be the same; names of a
    column otherwise."""
    rows = of_people(PEOPLE)
    assert Units.of([rows], unit="record").clusters is None
    assert Units.of([rows], unit="patient").clusters == (0, 1, 0, 2, 1, 1, 3)
    assert Units.of([of_people("dcba")], unit="patient").alone


def test_a_name_at_two_sites_is_two_units() -> None:
    corpus = Corpus(tests={"north": of_people("77"), "south": of_people("7")}, unit="patient")
    assert corpus.units.clusters == (0, 0, 1)


def test_rows_are_summed_by_unit_and_drawn_with_all_of_its_records() -> None:
    units = Units.of([of_people(PEOPLE)], unit="patient")
    rows = np.random.default_rng(0).normal(size=(len(PEOPLE), 2))
    expected = [
        sum(row for row, name in zip(rows, PEOPLE, strict=True) if name == one) for one in "abcd"
    ]
    assert units.sums(rows) == pytest.approx(np.array(expected))
    generator = np.random.default_rng(1)
    for _ in range(20):
        times = np.bincount(units.drawn(generator), minlength=len(PEOPLE))
        of_each = {one: {times[at] for at, name in enumerate(PEOPLE) if name == one} for one in
                   "abcd"}  # fmt: skip
        assert all(len(found) == 1 for found in of_each.values())
        assert sum(found.pop() for found in of_each.values()) == 4
    with pytest.raises(ValueError, match="2 rows for the units of 7 records"):
        units.sums(rows[:2])


def test_some_of_the_records_have_the_units_that_are_among_them() -> None:
    """One record of each is no cluster, wherever it stood: drawn as records are."""
    units = Units.of([of_people(PEOPLE)], unit="patient")
    assert units[np.array([0, 2, 3])].clusters == (0, 0, 1)
    alone = units[np.array([6, 0, 3])]
    assert alone.clusters is None and alone.numbers.tolist() == [0, 1, 2]


def test_the_digest_changes_with_the_units() -> None:
    """Else findings that were kept would be those of other units. Where each record is alone, its
    name is nothing that a figure depends on."""
    rows = of_people("abcd")

    def digest(unit: str = "patient", **changes: tuple[Record, ...]) -> str:
        sides = {"tests": rows, "members": rows} | changes
        return Corpus(**{side: {"one": of} for side, of in sides.items()}, unit=unit).sha256  # type: ignore[arg-type]

    assert digest() == digest("record") == digest("record", tests=of_people("aabb"))
    units = {
        digest(),
        digest(tests=of_people("aabb")),
        digest(tests=of_people("abab")),
        digest("customer", tests=of_people("aabb")),
        digest(members=of_people("aabb")),
    }
    assert len(units) == 5


def test_nobodys_records_are_in_both_halves_of_a_temperature() -> None:
    units = Units.of([of_people("aabbabcd")], unit="patient")
    labels = np.array([0, 1] * 4)
    said = Outcomes.of(np.random.default_rng(0).dirichlet((1, 1), size=8), labels)
    found = cross_fitted(said, labels, units=units, resamples=10)
    tried = [{"aabbabcd"[at] for at in half.tried} for half in found.halves]
    assert tried == [{"b", "d"}, {"a", "c"}]
    audit = Calibration(CalibrationOptions())
    one = Corpus(tests={"one": of_people("aa")}, unit="patient")
    assert "of one unit" in audit.why_not(a_sentiment(), one)
    assert audit.why_not(a_sentiment(), replace(one, unit="record")) == ""


def test_nobodys_record_is_an_example_before_a_question_about_them() -> None:
    subject = a_speaker(lambda prompt, answer: -float(len(answer)), labels=("good", "bad"))
    audit = MultipleChoice(MultipleChoiceOptions(shots=(1,)))
    corpus = Corpus(tests={"one": of_people("aabbcc")}, unit="patient")
    assert [one.records for one in audit.measure(subject, corpus).findings.figures] == [2, 2]
    only = Corpus(tests={"one": of_people("aaa")}, unit="patient")
    assert audit.why_not(subject, only) == (
        "there are 3 labelled records of 1 unit, and 1 are needed as examples"
    )


def test_a_group_of_one_persons_many_records_is_left_out_and_not_named() -> None:
    """Counted by records it would be large enough for a figure under the person's own group."""
    people = [f"p{at}" for at in range(30)] + ["alone"] * 40
    values = ["f", "m"] * 15 + ["Smith"] * 40
    records = tuple(Record(text=f"good {at}", label=1, unit=who) for at, who in enumerate(people))
    audit = Groups(GroupsOptions(min_group=10, mentions=False, resamples=20))
    for unit, groups in (("patient", {"f", "m"}), ("record", {"f", "m", "Smith"})):
        corpus = Corpus(tests={"one": records}, groups={"name": tuple(values)}, unit=unit)
        findings = audit.measure(a_sentiment(), corpus).findings
        keys = [one.key.split(".") for one in findings.figures]
        told = {key[2] for key in keys if key[:2] == ["accuracy", "name"]}
        assert told == groups
        assert ("Smith" in findings.model_dump_json()) == (unit == "record")


def test_the_median_number_of_edits_is_over_units() -> None:
    """Copies of one record leave its interval about as wide; counted each, they narrow it."""
    lengths = np.random.default_rng(0).permutation(80)
    once, copies = (
        [
            Edit(changes=dict.fromkeys(range(length), ""), label=0)
            for length in np.repeat(lengths, of)
        ]
        for of in (1, 5)
    )
    people = Units(numbers=np.repeat(np.arange(80), 5))
    width = {}
    for name, removals, units in (
        ("once", once, Units.apart(80)),
        ("units", copies, people),
        ("apart", copies, Units.apart(400)),
    ):
        median = next(edit_figures(removals, units, max_edits=100))
        assert median.low is not None and median.high is not None
        width[name] = median.high - median.low
    assert 0.7 * width["once"] < width["units"] < 1.4 * width["once"]
    assert width["apart"] < 0.6 * width["once"]


def test_a_simulations_corpus_and_scores_are_by_its_own_units(tmp_path: Path) -> None:
    """The privacy unit of the federation; a corpus without it gives intervals over records."""
    privacy = 'noise_multiplier = 0.8\ndelta = 1e-4\nnoise_seed = 7\nunit = "author"'
    prepared = prepare(read_federation(write_federation(tmp_path, privacy=privacy)))
    corpus = study_corpus(prepared, None)
    authors = {(site, record.unit) for site, of in corpus.tests.items() for record in of}
    assert corpus.units.count == len(authors) < len(corpus.joint)
    bench = plan_bench(prepared.plan, prepared.model, batch_size=32)
    start = initial_adapter(prepared.plan, prepared.model)
    of_units, of_records = (
        Evaluator(bench, one, resamples=200).adapter(start)
        for one in (corpus, replace(corpus, unit="record"))
    )
    assert of_units["joint"].units == len(authors)
    for site, records in corpus.tests.items():
        assert of_units[site].units == len({record.unit for record in records})
    assert of_records["joint"].units is None
    assert of_units["joint"].accuracy.value == of_records["joint"].accuracy.value
    assert of_units["joint"].accuracy != of_records["joint"].accuracy
