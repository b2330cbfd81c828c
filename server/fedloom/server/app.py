"""The Flower ServerApp: finds the run that its context names, and runs its plan."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedloom.server.discovery import Denied, log_denied
from fedloom.server.initial import initial_adapter
from fedloom.server.parties import Parties
from fedloom.server.remaining import note_found
from fedloom.server.roster import Roster
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.heads import HeadBook
from fedloom.server.strategy import FedLoomStrategy, RoundObserver


@dataclass(frozen=True, kw_only=True)
class OpenedRun:
    """What a run needs beside its folder: the base model, the plan's start if it has one, the
    parties, how long to wait until every site is connected, whether a site whose node went is asked
    again in the same round, who is told of strangers, and a file of heads that outlasts the run."""

    folder: RunFolder
    model: Path
    start: Path | None
    parties: Parties
    patience_seconds: float = 0.0
    asks_again: bool = False
    denied: Denied = log_denied
    heads: Path | None = None

    @property
    def heads_file(self) -> Path:
        """Where the heads of the sites' ledgers are remembered: beside the run, if nowhere else."""
        return self.heads or self.folder.heads


OpenRun = Callable[[Context], OpenedRun]


def make_server_app(open_run: OpenRun, *observers: RoundObserver) -> ServerApp:
    """A ServerApp that runs the plan in the folder of the run that `open_run` finds, to its end."""
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        run_plan(grid, open_run(context), *observers)

    return server


def run_plan(grid: Grid, run: OpenedRun, *observers: RoundObserver) -> None:
    """Run a plan from its last durable round to its end.

    Raises:
        RunFolderError: another process runs it.
        QuorumError: too few sites answered; what is durable stays.
        ModelError, PlanError, CheckpointError: model, plan or folder are not as they were.
    """
    with run.folder.locked():
        run_held_plan(grid, run, *observers)


def run_held_plan(grid: Grid, run: OpenedRun, *observers: RoundObserver) -> None:
    """As `run_plan`, for who holds the run folder already."""
    folder = run.folder
    plan = folder.read_plan()
    roster = Roster(
        plan,
        run.parties,
        lambda sites: note_found(plan, folder, sites),
        run.denied,
        asks_again=run.asks_again,
    )
    roster.gather(grid, patience_seconds=run.patience_seconds)
    strategy = FedLoomStrategy(
        plan,
        folder,
        roster=roster,
        parties=run.parties,
        initial=initial_adapter(plan, run.model, run.start),
        heads=HeadBook(run.heads_file),
        observers=observers,
    )
    strategy.summary()
    strategy.start(grid)
