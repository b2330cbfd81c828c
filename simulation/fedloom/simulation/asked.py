"""What a study was asked beside its plan, kept in its folder: a resume goes on with just that."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import tomli_w

from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.reading import read_toml
from fedloom.shared.config.values import Column, Section
from fedloom.shared.errors import RunFolderError
from fedloom.shared.wire.messages import Digest
from fedloom.simulation.arms import ARM_KINDS, ArmKind

_HEADING = "# What this simulation was asked beside its plan; --resume goes on with it.\n"


class Asked(Section):
    """`asked.toml`: the arms to train beside the federation, the columns by which audits part
    held-out records, the folder of its sites if they outlast it, and the digest of the records that
    are held out and trained on: where sizes are declared, no plan says which they are."""

    corpus_sha256: Digest
    arms: tuple[ArmKind, ...] = ()
    groups: tuple[Column, ...] = ()
    sites: Path | None = None

    def with_arms(self, more: Sequence[ArmKind]) -> Self:
        """The same with further arms, in the order in which arms are trained."""
        arms = tuple(kind for kind in ARM_KINDS if kind in (*self.arms, *more))
        return self.model_copy(update={"arms": arms})

    def check_corpus(self, run: RunFolder, corpus_sha256: str) -> None:
        """Make sure that the records are held out and trained on that were so before.

        Raises:
            RunFolderError: others: what was trained on could now pass for held out.
        """
        if corpus_sha256 != self.corpus_sha256:
            raise RunFolderError(
                f"run folder {run.path}: other records are held out or trained on than when it "
                "began, expected the same data, columns, evaluation.holdout and fractions"
            )

    def to_toml(self) -> str:
        """The file's text."""
        return _HEADING + tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def asked_file(run: RunFolder) -> Path:
    """Where it lies."""
    return run.path / "asked.toml"


def asked_before(run: RunFolder, sites: Path | None = None) -> Asked:
    """What a study to be resumed was begun with; `sites` is where the folder of its sites lies by
    now, if that is said: whether it is theirs, their ledgers tell.

    Raises:
        RunFolderError: the folder holds no study, or not what was asked of it; or its sites are its
            own, and lie in it.
        ConfigError: the file is damaged.
    """
    path = asked_file(run)
    if not path.is_file():
        raise RunFolderError(
            f"run folder {run.path}: no {path.name}, expected what the simulation was asked"
        )
    asked = read_toml(path, Asked, expected="what was asked")
    if sites is None:
        return asked
    if asked.sites is None:
        raise RunFolderError(
            f"run folder {run.path}: --sites {sites}, but its sites are its own, expected no others"
        )
    return asked.model_copy(update={"sites": sites.resolve()})


def unlike_groups(run: RunFolder, groups: Sequence[str]) -> str | None:
    """One line if groups that are asked for now are not those that a run was begun with."""
    kept = asked_before(run).groups
    if tuple(groups) == kept:
        return None
    return (
        f"evaluation.groups: changed since the run began: {', '.join(kept) or 'none'} of "
        f"{asked_file(run)} counts"
    )
