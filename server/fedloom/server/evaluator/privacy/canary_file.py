"""Secrets that were planted in training records, in a file of their own."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedloom.server.evaluator.privacy.exposure import forms
from fedloom.shared.errors import EvaluationError

# A secret with fewer forms than this cannot be told from a guess.
_LEAST_FORMS = 100


class Canary(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = Field(min_length=1)
    secret: str = Field(min_length=1)


def read_canaries(path: Path | None) -> tuple[Canary, ...]:
    """All canaries of a file.

    Raises:
        EvaluationError: no such file, none in it, a line that is none, or a secret that has too
            few forms; names file and line, never a secret.
    """
    if path is None or not path.is_file():
        raise EvaluationError(f"exposure: no file {path}, expected canaries in JSONL")
    found = tuple(_parsed(path))
    if not found:
        raise EvaluationError(f"exposure: {path}: empty, expected a canary a line")
    return found


def _parsed(path: Path) -> Iterator[Canary]:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            canary = Canary.model_validate_json(line)
        except ValidationError as error:
            # Neither in the message nor as its cause: what pydantic says holds the secret.
            raise EvaluationError(f"exposure: {path}, line {number}: {_problem(error)}") from None
        if forms(canary.secret) < _LEAST_FORMS:
            raise EvaluationError(
                f"exposure: {path}, line {number}: a secret of {forms(canary.secret)} forms, "
                f"expected letters and digits enough for {_LEAST_FORMS}"
            )
        yield canary


def _problem(error: ValidationError) -> str:
    """The key that is wrong, never a value; what stands in place of an unknown key may be one."""
    found = [one["loc"][0] for one in error.errors(include_input=False) if one["loc"]]
    known = [key for key in Canary.model_fields if key in found]
    where = f"key {known[0]}" if known else "other keys" if found else "no JSON"
    return f"{where}, expected texts prompt and secret, and no other key"
