"""Tables out of CSV, JSONL and Parquet files, a damaged row being no more than a damaged row.

CSV and JSONL are read row by row with the standard library: a table reader gives up a whole file
for one odd row, and a site that gave up for one record would tell the server of it.
"""

import csv
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from fedloom.shared.errors import DataError

# A row by column; None where the file holds something that is no row.
Row = Mapping[str, object] | None


@dataclass(frozen=True, kw_only=True)
class Table:
    """All rows of a file, in order, and the columns that it names."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_table(path: Path) -> Table:
    """Read a file by its suffix.

    Raises:
        DataError: missing, empty, of an unknown kind, or not readable at all.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: unknown kind of file, expected one of {', '.join(READERS)}")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: empty file, expected a table of records")
    try:
        return reader(path)
    except (ValueError, OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as {path.suffix[1:]}, or has no rows") from error


def _read_csv(path: Path) -> Table:
    csv.field_size_limit(sys.maxsize)
    # Bytes that are no UTF-8 become half surrogates, which no text may hold.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file)
        rows = tuple(_whole(row) for row in reader)
        return Table(columns=tuple(reader.fieldnames or ()), rows=rows)


def _whole(row: dict[str | None, object]) -> Row:
    # Fields beyond the header's stand under None: the commas are not where they should be.
    return None if None in row else {str(name): value for name, value in row.items()}


def _read_jsonl(path: Path) -> Table:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        rows = tuple(_parsed(line) for line in file if line.strip())
    return Table(columns=tuple(dict.fromkeys(_names(rows))), rows=rows)


def _parsed(line: str) -> Row:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _names(rows: tuple[Row, ...]) -> Iterator[str]:
    return (name for row in rows if row is not None for name in row)


def _read_parquet(path: Path) -> Table:
    import datasets
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity(datasets.utils.logging.CRITICAL)
    # The library copies what it reads into its cache; the copy must not outlive this call.
    with tempfile.TemporaryDirectory(prefix="fedloom-") as scratch:
        try:
            found = datasets.Dataset.from_parquet(str(path), cache_dir=scratch, keep_in_memory=True)
        except DatasetsError as error:
            raise ValueError("not parquet") from error
        return Table(columns=tuple(found.column_names), rows=tuple(found))


Reader = Callable[[Path], Table]
READERS: Mapping[str, Reader] = MappingProxyType(
    {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
)
