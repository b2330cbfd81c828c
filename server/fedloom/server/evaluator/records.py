"""Labelled records to evaluate on, out of the file that a suite names: by site, with groups."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from fedloom.server.evaluator.corpus import Benchmarks, Corpus
from fedloom.server.evaluator.sections import RecordsSection
from fedloom.shared.data.records import Record, RecordSource, read_records
from fedloom.shared.data.tables import Table, read_table
from fedloom.shared.errors import DataError

# The one site of records that name none.
_ALL = "records"


def read_corpus(
    section: RecordsSection, *, labels: tuple[str, ...], benchmarks: Benchmarks
) -> Corpus:
    """All records of the file, by site in the order in which sites come, and their groups in the
    same order.

    Raises:
        DataError: the file or a column is missing, or a row is no record or lacks its site, group
            or unit; names file, row and column, and never what a row holds.
    """
    source = RecordSource(
        path=section.path,
        text=section.text,
        label=section.label,
        messages=section.messages,
        unit=section.whose,
    )
    records = read_records(source, labels=labels)
    table = read_table(section.path)
    every = range(len(records))
    named = {name: group_values(section.path, table, name, every) for name in section.groups}
    sites = [_ALL] * len(records)
    if section.site is not None:
        sites = group_values(section.path, table, section.site, every)
    order = _site_after_site(sites)
    return Corpus(
        tests={site: _of(site, sites, records) for site in dict.fromkeys(sites)},
        groups={name: tuple(values[at] for at in order) for name, values in named.items()},
        benchmarks=benchmarks,
        unit=section.whose,
    )


def group_values(path: Path, table: Table, column: str, rows: Iterable[int]) -> list[str]:
    """What a column of the file says of some of its rows, the first being 0.

    Raises:
        DataError: there is no such column, or no value in one of the rows; names file, row and
            column.
    """
    if column not in table.columns:
        raise DataError(f"{path}: no column {column}, expected it for sites or groups")
    found = []
    for at in rows:
        row = table.rows[at]
        value = None if row is None else row.get(column)
        missing = value is None or (isinstance(value, float) and math.isnan(value))
        if missing or not str(value).strip():
            raise DataError(f"{path}, row {at + 1}, column {column}: no value, expected a group")
        found.append(str(value).strip())
    return found


def _site_after_site(sites: Sequence[str]) -> list[int]:
    places = {site: number for number, site in enumerate(dict.fromkeys(sites))}
    return sorted(range(len(sites)), key=lambda at: places[sites[at]])


def _of(site: str, sites: Sequence[str], records: Iterable[Record]) -> tuple[Record, ...]:
    return tuple(record for at, record in zip(sites, records, strict=True) if at == site)
