"""A run that the coordinator wants: written down first, so that it goes on after any failure."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.sections import Name, Section
from fedloom.shared.errors import RunFolderError
from fedloom.shared.files import write_durably
from fedloom.shared.kits.document import Hex64

State = Literal["wanted", "finished", "given-up", "stopped"]


class WantedRun(Section):
    """`wanted.json` beside a run's plan.

    A `wanted` run is started, and started again, until it is `finished`; `given-up` after an
    error that trying again does not mend, `stopped` by the coordinator. `flower_run` is the
    number of Flower's latest run for it; Flower knows no other name for it.
    """

    name: Name
    plan_sha256: Hex64
    model: Path
    start: Path | None = None
    state: State = "wanted"
    flower_run: Annotated[str, Field(pattern=r"^\d{1,20}$")] | None = None
    created: float


def wanted_file(folder: RunFolder) -> Path:
    """Where it lies."""
    return folder.path / "wanted.json"


def read_wanted(folder: RunFolder) -> WantedRun:
    """What is wanted of a run.

    Raises:
        RunFolderError: it is not a server's run, or the file is damaged.
    """
    path = wanted_file(folder)
    if not path.is_file():
        raise RunFolderError(f"run folder {folder.path}: no wanted.json, expected a server's run")
    try:
        return WantedRun.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise RunFolderError(f"{path}: damaged, expected what fedloom server run wrote") from error


def write_wanted(folder: RunFolder, wanted: WantedRun) -> None:
    """Put it in place of what was wanted before, durably."""
    write_durably(wanted_file(folder), wanted.model_dump_json(indent=1).encode())
