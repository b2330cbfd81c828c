"""Records out of CSV, JSONL and Parquet files, checked row by row."""

import json
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from fedloom.shared.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

RECORD_UNIT = "record"


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
    table = _load(source.path, wanted)
    for column in wanted:
        if column not in table.column_names:
            raise DataError(
                f"{source.path}: no column {column}, expected one of "
                f"{', '.join(map(str, table.column_names))}"
            )
    numbers = {label: number for number, label in enumerate(labels)}
    rows = zip(*(table[column] for column in wanted), strict=True)
    return [_record(source, at, row, numbers) for at, row in enumerate(rows, start=1)]


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


def _record(
    source: RecordSource, at: int, row: tuple[object, ...], numbers: Mapping[str, int]
) -> Record | BadRow:
    text, label, *rest = row
    if not isinstance(text, str) or not _is_word(text):
        return BadRow(row=at, column=source.text, problem="no text")
    number = numbers.get(str(label))
    if number is None:
        expected = f"expected one of {', '.join(numbers)}"
        problem = f"a label outside the label set, {expected}"
        return BadRow(row=at, column=source.label, problem=problem)
    # Without a unit column the text itself keys the split, so that equal texts stay together.
    unit = str(rest[0]) if rest else text
    if (rest and _is_missing(rest[0])) or not _is_word(unit):
        return BadRow(row=at, column=source.unit, problem="no privacy unit")
    return Record(text=text, label=number, unit=unit)


def _is_word(text: str) -> bool:
    # Half a surrogate pair, which JSON allows, is nothing that could be encoded or hashed.
    return bool(text.strip()) and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_missing(value: object) -> bool:
    # None and NaN have names of their own as text; nobody is called that.
    return value is None or (isinstance(value, float) and math.isnan(value))


Reader = Callable[[Path, Sequence[str], str], "Dataset"]


def _read_csv(path: Path, columns: Sequence[str], scratch: str) -> "Dataset":
    from datasets import Dataset

    return Dataset.from_csv(
        str(path),
        cache_dir=scratch,
        keep_in_memory=True,
        # Texts such as "NA" and labels such as "01" are read as they stand.
        converters=dict.fromkeys(columns, str),
        na_filter=False,
    )


def _read_jsonl(path: Path, columns: Sequence[str], scratch: str) -> "Dataset":
    from datasets import Dataset

    # The library's own reader would turn texts that look like dates into dates.
    with path.open(encoding="utf-8") as file:
        return Dataset.from_list([json.loads(line) for line in file if line.strip()])


def _read_parquet(path: Path, columns: Sequence[str], scratch: str) -> "Dataset":
    from datasets import Dataset

    return Dataset.from_parquet(str(path), cache_dir=scratch, keep_in_memory=True)


READERS: Mapping[str, Reader] = MappingProxyType(
    {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
)


def _load(path: Path, columns: Sequence[str]) -> "Dataset":
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: unknown kind of file, expected one of {', '.join(READERS)}")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: empty file, expected a table of records")
    import datasets
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity(datasets.utils.logging.CRITICAL)
    # The library copies what it reads into its cache; the copy must not outlive this call.
    with tempfile.TemporaryDirectory(prefix="fedloom-") as scratch:
        try:
            return reader(path, columns, scratch)
        except (DatasetsError, ValueError, TypeError, AttributeError, OSError) as error:
            kind = path.suffix[1:]
            raise DataError(f"{path}: cannot be read as {kind}, or has no rows") from error


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
