"""What each site last said is left of its budget, kept beside the run that asked."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from fedloom.shared.errors import CheckpointError
from fedloom.shared.files import write_durably
from fedloom.shared.wire.messages import DeclaredBudget

_BUDGETS = TypeAdapter(dict[str, DeclaredBudget])


def keep_budgets(path: Path, declared: Mapping[str, DeclaredBudget | None]) -> None:
    """Put what sites declared now in place of what they declared before, durably.

    A site that says nothing now (None) loses what it said before, which no longer holds; one
    that was not reached keeps it.

    Raises:
        CheckpointError: the file is damaged.
    """
    merged = {**read_budgets(path), **declared}
    kept = {name: budget for name, budget in sorted(merged.items()) if budget is not None}
    write_durably(path, _BUDGETS.dump_json(kept, indent=1))


def read_budgets(path: Path) -> dict[str, DeclaredBudget]:
    """The newest word of each site; none where there is no file.

    Raises:
        CheckpointError: the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        return _BUDGETS.validate_json(path.read_bytes())
    except ValidationError as error:
        raise CheckpointError(f"{path}: damaged, expected the sites' budgets") from error
