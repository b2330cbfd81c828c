"""Records out of CSV, JSONL and Parquet files, checked row by row."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedloom.shared.data.chats import Turn, parse_chat
from fedloom.shared.data.tables import Row, read_table
from fedloom.shared.errors import DataError

RECORD_UNIT = "record"
_NO_LABEL = -1
# If a file's header was forgotten, a record stands in its place; only plain names are repeated.
_COLUMN_NAME = re.compile(r"[A-Za-z_][\w.-]{0,40}$")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One example. `label` is a class number, -1 without a label set; `unit` names whose it is.

    `answer` is the label in words, or what is to be answered to `text`, said after `before`;
    `group` is the value of a column that parts records into groups, empty without one.
    """

    text: str
    label: int
    unit: str
    answer: str = ""
    before: tuple[Turn, ...] = ()
    group: str = ""

    @property
    def labelled(self) -> bool:
        """Whether the answer is one of a label set."""
        return self.label != _NO_LABEL

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All that is said before the answer."""
        return (*self.before, Turn(role="user", content=self.text))


@dataclass(frozen=True, kw_only=True)
class RecordSource:
    """Where records lie: a file and its columns. `unit` is `record` or a column, `group` a column.

    With `messages`, a column of chats takes the place of text and label.
    """

    path: Path
    text: str
    label: str
    unit: str = RECORD_UNIT
    messages: str | None = None
    group: str | None = None

    @property
    def columns(self) -> list[str]:
        """All columns that are read."""
        wanted = [self.text, self.label] if self.messages is None else [self.messages]
        unit = [] if self.unit == RECORD_UNIT else [self.unit]
        return [*wanted, *unit, *([] if self.group is None else [self.group])]


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A row that is no record. `problem` never holds what the row does."""

    row: int
    column: str
    problem: str


def read_rows(source: RecordSource, *, labels: tuple[str, ...]) -> list[Record | BadRow]:
    """All rows of a source, in file order, each as a record or as what is wrong with it.

    Without `labels` any answer is one.

    Raises:
        DataError: file or column missing, or a file that cannot be read.
    """
    table = read_table(source.path)
    for column in source.columns if table.columns else ():
        if column not in table.columns:
            known = ", ".join(filter(_COLUMN_NAME.match, table.columns)) or "none with a plain name"
            raise DataError(f"{source.path}: no column {column}, expected it; there is {known}")
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
    column = source.messages or source.text
    if row is None:
        return BadRow(row=at, column=column, problem="no row of this table")
    said = _said(source, row)
    if said is None:
        problem = "no chat that an assistant ends" if source.messages else "no text"
        return BadRow(row=at, column=column, problem=f"{problem}, expected some in UTF-8")
    answer = said[-1].content
    number = numbers.get(answer, _NO_LABEL)
    if (numbers and number == _NO_LABEL) or not _is_word(answer):
        known = f"one of {', '.join(numbers)}" if numbers else "a text in UTF-8"
        problem = f"a label outside the label set, expected {known}"
        return BadRow(row=at, column=source.messages or source.label, problem=problem)
    # Without a unit column the text itself keys the split, so that equal texts stay together.
    person = _key(said[:-1]) if source.unit == RECORD_UNIT else row.get(source.unit)
    unit = str(person)
    if _is_missing(person) or not _is_word(unit):
        return BadRow(row=at, column=source.unit, problem="no privacy unit")
    before, asked = said[:-2], said[-2].content
    group = _group(source, row)
    return Record(text=asked, label=number, unit=unit, answer=answer, before=before, group=group)


def _group(source: RecordSource, row: Mapping[str, object]) -> str:
    found = None if source.group is None else row.get(source.group)
    # A row without a group is a record all the same.
    return "" if _is_missing(found) else str(found)


def _said(source: RecordSource, row: Mapping[str, object]) -> tuple[Turn, ...] | None:
    """The turns of a row, the answer last; None where there is nothing to go by."""
    if source.messages is not None:
        turns = parse_chat(row.get(source.messages))
        return turns if turns and all(_is_word(turn.content) for turn in turns) else None
    text, label = row.get(source.text), row.get(source.label)
    if not isinstance(text, str) or not _is_word(text):
        return None
    answer = "" if _is_missing(label) else str(label)
    return Turn(role="user", content=text), Turn(role="assistant", content=answer)


def _key(turns: tuple[Turn, ...]) -> str:
    return "\n".join(turn.content for turn in turns)


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
