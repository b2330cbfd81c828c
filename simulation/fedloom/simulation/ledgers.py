"""The ledgers that a run began with: a resume begins none, for it would spend a budget again."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from fedloom.client.ledger.ledger import Ledger
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.heads import read_heads, write_heads
from fedloom.server.run.journal import Journal, RoundEntry
from fedloom.shared.errors import LedgerError, RunFolderError, SiteRefusal
from fedloom.shared.wire.heads import LedgerHead


def ledger_at(home: Path) -> Ledger:
    """The ledger of the site whose files lie in `home`."""
    return Ledger(home / "state")


def keep_first_heads(run: RunFolder, sites: Path, names: Iterable[str]) -> None:
    """Keep the heads of the ledgers in `sites` with the run, once, before any site is asked."""
    if not _file(run).is_file():
        write_heads(_file(run), dict(_heads(sites, names)))


def check_ledgers(run: RunFolder, sites: Path, *, answers: bool) -> None:
    """Make sure that the ledgers in `sites` are those that the run began with; if `answers`, that
    each has all that its site answered in durable rounds, too.

    A run that was stopped before it asked any site has none yet.

    Raises:
        RunFolderError: one is gone, another or an older copy; or it is not known any more which
            they were.
        CheckpointError: what the run knows of them is damaged.
    """
    rounds = Journal(run.rounds).entries()
    if rounds and not _file(run).is_file():
        raise RunFolderError(
            f"run folder {run.path}: no {_file(run).name}, expected the heads of the ledgers that "
            "it began with"
        )
    told = _answers(rounds) if answers else {}
    for name, head in read_heads(_file(run)).items():
        problem = _problem(ledger_at(sites / name), head, told.get(name, ()))
        if problem is not None:
            raise RunFolderError(
                f"run folder {run.path}: the ledger of {name} in {sites} {problem}, expected the "
                "one that it began with, as it was last; if the folder of --sites was moved, name "
                "it again"
            )


def _file(run: RunFolder) -> Path:
    return run.path / "ledgers.json"


def _heads(sites: Path, names: Iterable[str]) -> Iterator[tuple[str, LedgerHead]]:
    for name in names:
        try:
            yield name, ledger_at(sites / name).head()
        except LedgerError:
            # Of an earlier run, and damaged: its site refuses, and others may go on.
            continue


def _answers(rounds: Iterable[RoundEntry]) -> Mapping[str, Collection[str]]:
    """By site the digests of the updates that counted."""
    told: dict[str, set[str]] = {}
    for each in (each for entry in rounds for each in entry.sites):
        if each.update_sha256 is not None:
            told.setdefault(each.site, set()).add(each.update_sha256)
    return told


def _problem(ledger: Ledger, head: LedgerHead, answers: Collection[str]) -> str | None:
    if not ledger.exists:
        return "is gone"
    try:
        ledger.check_remembered(head)
        sealed = {entry.sealed for entry in ledger.entries()}
    except SiteRefusal:
        return "is another, or an older copy"
    except LedgerError:
        # Damaged: its site refuses, and others may go on.
        return None
    return None if sealed.issuperset(answers) else "lacks what its site answered"
