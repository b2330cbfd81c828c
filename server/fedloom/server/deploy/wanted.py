"""A run that the coordinator wants: written down first, so that it goes on after any failure."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from fedloom.server.deploy.home import ServerHome
from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.values import Name, Section
from fedloom.shared.errors import FedLoomError, RunFolderError
from fedloom.shared.files import write_durably
from fedloom.shared.kits.document import Hex64

logger = logging.getLogger("fedloom.keeper")

_DATE, _MOST_NAMED = len("20260101-120000"), 10

State = Literal["wanted", "finished", "given-up", "stopped"]


class WantedRun(Section):
    """`wanted.json` beside a run's plan.

    A `wanted` run is started, and started again, until it is `finished`; `given-up` after an
    error that trying again does not mend, `stopped` by the coordinator. `flower_run` is the
    number of Flower's latest run for it; Flower knows no other name for it. `suite` is the file of
    audits, for its end and for after `every` rounds if that is not 0, of which the run's folder
    has a copy that counts.
    """

    name: Name
    plan_sha256: Hex64
    model: Path
    start: Path | None = None
    suite: Path | None = None
    every: Annotated[int, Field(ge=0)] = 0
    state: State = "wanted"
    flower_run: Annotated[str, Field(pattern=r"^\d{1,20}$")] | None = None
    created: float


def wanted_file(folder: RunFolder) -> Path:
    """Where it lies."""
    return folder.path / "wanted.json"


def read_wanted(folder: RunFolder) -> WantedRun:
    """What is wanted of a run.

    Raises:
        RunFolderError: it is not a server's run, it is the copy of one, or the file is damaged.
    """
    path = wanted_file(folder)
    if not path.is_file():
        raise RunFolderError(f"run {folder.path.name}: no such run, expected {_known(folder)}")
    try:
        wanted = WantedRun.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise RunFolderError(f"{path}: damaged, expected what fedloom server run wrote") from error
    if wanted.name != folder.path.name:
        raise RunFolderError(
            f"{path}: of run {wanted.name}, expected the run that its folder names"
        )
    return wanted


def _known(folder: RunFolder) -> str:
    """The newest runs that there are; their names end with their dates."""
    names = [path.parent.name for path in folder.path.parent.glob("*/wanted.json")]
    newest = sorted(names, key=lambda name: name[-_DATE:])[-_MOST_NAMED:]
    return f"one of {', '.join(newest)}" if newest else "fedloom server run to begin one first"


def write_wanted(folder: RunFolder, wanted: WantedRun) -> None:
    """Put it in place of what was wanted before, durably."""
    write_durably(wanted_file(folder), wanted.model_dump_json(indent=1).encode())


@contextmanager
def held_wanted(folder: RunFolder) -> Iterator[WantedRun]:
    """What is wanted now, with other writers kept out: the keeper and the coordinator's commands
    change it at the same time, and neither may undo the other's word.

    Raises:
        RunFolderError: it is not a server's run, or damaged.
    """
    read_wanted(folder)
    descriptor = os.open(folder.path / ".wanted.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield read_wanted(folder)
    finally:
        os.close(descriptor)


def change_wanted(folder: RunFolder, **changes: object) -> None:
    """Change some of it, whatever became of the rest meanwhile.

    Raises:
        RunFolderError: it is not a server's run, or damaged.
    """
    with held_wanted(folder) as wanted:
        write_wanted(folder, wanted.model_copy(update=changes))


def runs_of(home: ServerHome) -> Iterator[tuple[RunFolder, WantedRun]]:
    """All runs of a server; one that cannot be read is logged and left out."""
    for path in sorted(home.runs.glob("*/wanted.json")):
        folder = RunFolder(path.parent)
        try:
            yield folder, read_wanted(folder)
        except FedLoomError as error:
            logger.error("%s", error)
