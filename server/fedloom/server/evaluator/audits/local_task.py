"""A task of lm-eval from this machine alone: its YAML, and records that lie beside it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from fedloom.server.evaluator.audits.plain_config import check_plain
from fedloom.server.evaluator.audits.suite_file import SuiteFile
from fedloom.shared.data.tables import read_table
from fedloom.shared.errors import DataError


class LocalTask(SuiteFile):
    """A path to a YAML of lm-eval with `dataset_path: json` and `data_files` beside or below it."""

    def digest(self) -> str:
        """Digest of the YAML and of all its records.

        Raises:
            ValueError: a file is missing, or as `config` and `files`.
        """
        config = self.config()
        digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
        for file in self.files(config).values():
            digest.update(hashlib.sha256(_read(file)).digest())
        return digest.hexdigest()

    def config(self) -> dict[str, object]:
        """The YAML as plain values.

        Raises:
            ValueError: it is no local task, or asks for code.
        """
        import yaml

        try:
            config = yaml.safe_load(_read(self.path))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{self.path}: no plain YAML, expected a task without functions of Python"
            ) from error
        if not isinstance(config, dict) or not isinstance(config.get("task"), str):
            raise ValueError(f"{self.path}: no task, expected a YAML of lm-eval with its name")
        try:
            check_plain(config)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error
        return config

    def files(self, config: Mapping[str, object]) -> dict[str, Path]:
        """The file of each split, in the YAML's folder or below it.

        Raises:
            ValueError: records from elsewhere, also by a link.
        """
        given = config.get("dataset_kwargs")
        files = given.get("data_files") if isinstance(given, dict) else None
        if config.get("dataset_path") != "json" or not isinstance(files, dict):
            raise ValueError(
                f"{self.path}: records from elsewhere, expected dataset_path: json and "
                "dataset_kwargs.data_files with a file for each split"
            )
        return {str(split): self._below(file) for split, file in files.items()}

    def _below(self, file: object) -> Path:
        folder = self.path.parent.resolve()
        found = (folder / str(file)).resolve()
        absolute = Path(str(file)).is_absolute()
        if not isinstance(file, str) or absolute or not found.is_relative_to(folder):
            raise ValueError(f"{self.path}: data file {file}, expected one below the YAML's folder")
        return found


def rows_of(path: Path) -> list[dict[str, object]]:
    """The rows of a JSONL file.

    Raises:
        DataError: there are none, or one of them is no row.
    """
    table = read_table(path)
    rows = [dict(row) for row in table.rows if row is not None]
    if len(rows) != len(table.rows):
        raise DataError(f"{path}: rows that are no records, expected JSONL")
    return rows


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}, expected a file") from error
