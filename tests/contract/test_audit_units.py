"""Every audit takes records of one privacy unit for one observation, whatever it asks of them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fedloom.server.evaluator.audits.base import Measured
from fedloom.server.evaluator.audits.registry import AUDITS
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import AuditFindings, Table
from fedloom.server.evaluator.statistics import number_of
from fedloom.shared.data.records import Record
from tests.contract.test_audits import CASES, every_audit
from tests.support.audit_cases import fresh

COPIES = 5
# Audits of labelled records, and options with which they take all copies of them; the others ask
# something else.
OF_RECORDS: Mapping[str, Mapping[str, object]] = {
    "validation": {},
    "calibration": {},
    "selective": {},
    "multiple-choice": {},
    "behaviour": {"records": 500},
    "groups": {"min_group": 10},
    "swaps": {"records": 500, "templates": False},
    "membership": {},
    "explanations": {"records": 500},
}
# Explaining takes long.
FEW = {"explanations": 6}
_INTERVAL = re.compile(r"\[([\d.]+), ([\d.]+)\]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("units")


def copied(corpus: Corpus, copies: int, *, unit: str) -> Corpus:
    """Every record so many times; its place at its site is its unit, where that is a column."""

    def each(parts: Mapping[str, Sequence[Record]]) -> dict[str, tuple[Record, ...]]:
        return {
            site: tuple(
                replace(record, unit=f"person {at}")
                for at, record in enumerate(records)
                for _ in range(copies)
            )
            for site, records in parts.items()
        }

    groups = {
        name: tuple(np.repeat(values, copies).tolist()) for name, values in corpus.groups.items()
    }
    return replace(
        corpus, tests=each(corpus.tests), members=each(corpus.members), groups=groups, unit=unit
    )


@cache
def measured(name: str, folder: Path, copies: int, unit: str) -> Measured:
    kind, case = AUDITS[name], CASES[name]
    options = {**case.options(folder), **OF_RECORDS.get(name, {})}
    audit, corpus = kind.make(kind.options.model_validate(options)), case.corpus(folder)
    corpus = copied(_taken(name, corpus), copies, unit=unit)
    return audit.measure(fresh(case.subject(folder)), corpus)


def _taken(name: str, corpus: Corpus) -> Corpus:
    """As many members as others, since an even pick of more copies would be of more records."""
    even = {site: records[: len(corpus.tests[site])] for site, records in corpus.members.items()}
    if name not in FEW:
        return replace(corpus, members=even)
    few = {site: records[: FEW[name]] for site, records in corpus.tests.items()}
    return replace(corpus, tests=few, members=even, groups={})


def widths(findings: AuditFindings) -> dict[str, float]:
    """Of all intervals in figures, tables and charts."""
    return {name: high - low for name, low, high in _intervals(findings)}


def _intervals(findings: AuditFindings) -> Iterator[tuple[str, float, float]]:
    for figure in findings.figures:
        if figure.low is not None and figure.high is not None:
            yield figure.key, figure.low, figure.high
    for table in findings.tables:
        yield from _in_table(table)
    for chart in findings.charts:
        for series in chart.series:
            for at, (low, high) in enumerate(zip(series.low, series.high, strict=True)):
                yield f"{chart.title} {series.name} {at}", low, high


def _in_table(table: Table) -> Iterator[tuple[str, float, float]]:
    """In brackets in a cell, or in two columns."""
    for number, row in enumerate(table.rows):
        for at, (low, high) in enumerate(pairwise(row)):
            bounded = table.columns[at : at + 2] == ("from", "to")
            if bounded and isinstance(low, float) and isinstance(high, float):
                yield f"{table.title} {number} {at}", low, high
        for column, cell in zip(table.columns, row, strict=True):
            found = _INTERVAL.search(str(cell))
            if found:
                yield f"{table.title} {number} {column}", float(found[1]), float(found[2])


@every_audit
def test_a_unit_for_each_record_is_no_unit_at_all(name: str, folder: Path) -> None:
    """Whatever the unit is called; and with the unit `record`, whatever stands in its place."""
    once, named = (measured(name, folder, 1, unit) for unit in ("record", "patient"))
    assert once.findings == named.findings
    assert once.clusters.keys() == named.clusters.keys()


def ratios(name: str, folder: Path, *, unit: str) -> dict[str, float]:
    """How wide intervals are over five copies of each record, beside those over the records."""
    once = widths(measured(name, folder, 1, "record").findings)
    copies = widths(measured(name, folder, COPIES, unit).findings)
    assert once and once.keys() == copies.keys()
    assert all(copies[key] == 0 for key in once if once[key] == 0)
    return {key: copies[key] / once[key] for key in once if once[key] > 0}


@every_audit
def test_copies_of_one_unit_are_no_more_than_it(name: str, folder: Path) -> None:
    """In figures, tables and charts. The bootstrap in Wilson's place, other draws among ties, and a
    random order for each copy move them a little; over records they would be 0.45 times as wide."""
    for key, ratio in ratios(name, folder, unit="patient").items():
        assert 0.6 < ratio < 1.4, key


@every_audit
def test_copies_that_are_units_of_their_own_count_each(name: str, folder: Path) -> None:
    """The control: without units, five times as many records narrow what is about records."""
    found = list(ratios(name, folder, unit="record").values())
    if name in OF_RECORDS:
        assert np.median(found) < 0.6
    else:
        assert found == [1.0] * len(found)


@every_audit
def test_a_comparison_knows_the_units(name: str, folder: Path) -> None:
    """Of samples over records, each unit's values are a cluster, and its figure counts units. Of a
    part of the records, its edge may run through a few units."""
    once, copies = (measured(name, folder, count, "patient") for count in (1, COPIES))
    records = {figure.key: figure.records for figure in once.findings.figures}
    copied = {figure.key: figure.records for figure in copies.findings.figures}
    assert copied == pytest.approx(records, rel=0.05)
    for key, sample in copies.samples.items():
        assert number_of(sample, copies.clusters.get(key)) == records[key], key
