"""A file that a suite names: known by its name and its content, wherever it lies."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Self

from pydantic import (
    SerializationInfo,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from fedloom.shared.config.values import Section
from fedloom.shared.errors import EvaluationError
from fedloom.shared.files import sha256_file

# With this context a dump can be read again anywhere on this machine; without, it says what the
# file is and not where.
WHOLE_PATHS: Mapping[str, bool] = MappingProxyType({"whole_paths": True})


class SuiteFile(Section):
    """A path, relative to the suite's folder."""

    path: Path

    @model_validator(mode="before")
    @classmethod
    def _plain_path(cls, written: object) -> object:
        return {"path": written} if isinstance(written, str | Path) else written

    @field_validator("path")
    @classmethod
    def _from_the_suite(cls, path: Path, info: ValidationInfo) -> Path:
        folder = (info.context or {}).get("folder")
        return path if folder is None else Path(folder) / path

    @model_validator(mode="after")
    def _known_from_now_on(self) -> Self:
        # Also so that what is wrong is told with all else that is wrong in the suite.
        _ = self.sha256
        return self

    @cached_property
    def sha256(self) -> str:
        """Digest when the suite was read: what was kept of a file is not taken for what it has
        become since."""
        return self.digest()

    def digest(self) -> str:
        """Digest of what is there now, empty where nothing is."""
        return sha256_file(self.path) if self.path.is_file() else ""

    def check_unchanged(self) -> None:
        """Make sure that what is measured is what the suite's digest says.

        Raises:
            EvaluationError: the file is another by now.
        """
        try:
            found = self.digest()
        except ValueError as error:
            raise EvaluationError(str(error)) from error
        if found != self.sha256:
            raise EvaluationError(f"{self.path}: changed since the suite was read")

    @model_serializer
    def _by_content(self, info: SerializationInfo) -> str | dict[str, str]:
        if info.context == WHOLE_PATHS:
            return str(self.path)
        return {"path": self.path.name, "sha256": self.sha256}
