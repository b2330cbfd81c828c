"""What a study was asked beside its plan, kept in its folder: a resume goes on with just that."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import tomli_w

from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.reading import read_toml
from fedloom.shared.config.values import Column, Section
from fedloom.shared.errors import RunFolderError
from fedloom.simulation.arms import ARM_KINDS, ArmKind

_HEADING = "# What this simulation was asked beside its plan; --resume goes on with it.\n"


class Asked(Section):
    """`asked.toml`: the arms to train beside the federation, the columns by which audits part
    held-out records, and the folder of its sites if they outlast it."""

    arms: tuple[ArmKind, ...] = ()
    groups: tuple[Column, ...] = ()
    sites: Path | None = None

    def with_arms(self, more: Sequence[ArmKind]) -> Self:
        """The same with further arms, in the order in which arms are trained."""
        arms = tuple(kind for kind in ARM_KINDS if kind in (*self.arms, *more))
        return self.model_copy(update={"arms": arms})

    def to_toml(self) -> str:
        """The file's text."""
        return _HEADING + tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def asked_file(run: RunFolder) -> Path:
    """Where it lies."""
    return run.path / "asked.toml"


def asked_before(run: RunFolder, sites: Path | None = None) -> Asked:
    """What a run to be resumed was begun with, nothing if it was no study; `sites` is the folder
    of sites that is asked for now.

    Raises:
        RunFolderError: these are other sites: what they have answered is in the ledgers of those
            before.
        ConfigError: the file is damaged.
    """
    path = asked_file(run)
    asked = read_toml(path, Asked, expected="what was asked") if path.is_file() else Asked()
    if sites is not None and sites.resolve() != asked.sites:
        before = f"those in {asked.sites}" if asked.sites else "sites of its own"
        raise RunFolderError(
            f"run folder {run.path}: --sites {sites}, but it began with {before}, expected no "
            "others: the ledgers there have what it spent"
        )
    return asked


def unlike_groups(run: RunFolder, groups: Sequence[str]) -> str | None:
    """One line if groups that are asked for now are not those that a run was begun with."""
    kept = asked_before(run).groups
    if tuple(groups) == kept:
        return None
    return (
        f"evaluation.groups: changed since the run began: {', '.join(kept) or 'none'} of "
        f"{asked_file(run)} counts"
    )
