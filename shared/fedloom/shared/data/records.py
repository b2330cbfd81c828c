"""Records out of CSV, JSONL and Parquet files, checked row by row."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedloom.shared.data.tables import Row, read_table
from fedloom.shared.errors import DataError

RECORD_UNIT = "record"
# If a file's header was forgotten, a record stands in its place; only plain names are repeated.
_COLUMN_NAME = re.compile(r"[A-Za-z_][\w.-]{0,40}$")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One example. `label` is a class number; `unit` names whose record it is."""

    text: str
    label: int
    unit: str


@dataclass(frozen=True, kw_only=True)
class RecordSource:
    """Where records lie: a file and its columns. `unit` is `record` or a column."""

    path: Path
    text: str
    label: str
    unit: str = RECORD_UNIT


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A row that is no record. `problem` never holds what the row does."""

    row: int
    column: str
    problem: str


def read_rows(source: RecordSource, *, labels: tuple[str, ...]) -> list[Record | BadRow]:
    """All rows of a source, in file order, each as a record or as what is wrong with it.

    Raises:
        DataError: file or column missing, or a file that cannot be read.
    """
    wanted = [source.text, source.label]
    if source.unit != RECORD_UNIT:
        wanted.append(source.unit)
    table = read_table(source.path)
    for column in wanted if table.columns else ():
        if column not in table.columns:
            known = ", ".join(filter(_COLUMN_NAME.match, table.columns))
            raise DataError(f"{source.path}: no column {column}, expected one of {known}")
    numbers = {label: number for number, label in enumerate(labels)}
    return [_record(source, at, row, numbers) for at, row in enumerate(table.rows, start=1)]


def read_records(source: RecordSource, *, labels: tuple[str, ...]) -> list[Record]:
    """All records of a source in which every row must be one: for planning and evaluation.

    Raises:
        DataError: as `read_rows`; no rows, an empty text, a label outside `labels`; names file,
            row and column, and never what a row holds.
    """
    rows = read_rows(source, labels=labels)
    if not rows:
        raise DataError(f"{source.path}: no rows, expected at least one record")
    for row in rows:
        if isinstance(row, BadRow):
            raise DataError(f"{source.path}, row {row.row}, column {row.column}: {row.problem}")
    return [row for row in rows if isinstance(row, Record)]


def _record(source: RecordSource, at: int, row: Row, numbers: Mapping[str, int]) -> Record | BadRow:
    if row is None:
        return BadRow(row=at, column=source.text, problem="no row of this table")
    text, label = row.get(source.text), row.get(source.label)
    if not isinstance(text, str) or not _is_word(text):
        return BadRow(row=at, column=source.text, problem="no text, expected some in UTF-8")
    number = numbers.get(str(label))
    if number is None:
        expected = f"expected one of {', '.join(numbers)}"
        problem = f"a label outside the label set, {expected}"
        return BadRow(row=at, column=source.label, problem=problem)
    # Without a unit column the text itself keys the split, so that equal texts stay together.
    person = text if source.unit == RECORD_UNIT else row.get(source.unit)
    unit = str(person)
    if _is_missing(person) or not _is_word(unit):
        return BadRow(row=at, column=source.unit, problem="no privacy unit")
    return Record(text=text, label=number, unit=unit)


def _is_word(text: str) -> bool:
    # Half a surrogate pair, which JSON allows, is nothing that could be encoded or hashed.
    return bool(text.strip()) and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_missing(value: object) -> bool:
    # None and NaN have names of their own as text; nobody is called that.
    return value is None or (isinstance(value, float) and math.isnan(value))


def count_units(records: Iterable[Record], *, unit: str) -> int:
    """Number of privacy units: rows, or distinct values of the unit column."""
    return len(group_by_unit(list(records), unit=unit))


def group_by_unit(records: list[Record], *, unit: str) -> tuple[tuple[int, ...], ...]:
    """Indices of each privacy unit's records; with `record`, each row alone."""
    if unit == RECORD_UNIT:
        return tuple((at,) for at in range(len(records)))
    groups: dict[str, list[int]] = {}
    for at, record in enumerate(records):
        groups.setdefault(record.unit, []).append(at)
    return tuple(tuple(group) for group in groups.values())
