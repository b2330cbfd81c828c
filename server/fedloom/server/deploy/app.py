"""The ServerApp of a deployment: runs what the coordinator wants, and nothing that Flower says.

What a Flower run's config holds is a name and a hash; neither is believed. The plan is the one
in the wanted run's folder, its hash must be the one that was written down when it was wanted, and
each task that leaves carries the plan under the coordinator's signature.
"""

import logging
import os
import time
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from pydantic import TypeAdapter, ValidationError

from fedloom.server.app import OpenedRun, run_held_plan
from fedloom.server.deploy.bounds import bound_pulls
from fedloom.server.deploy.bundle import PLAN, RUN
from fedloom.server.deploy.evaluating import DeployedEvaluation
from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.finishing import finish
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.processes import HOME
from fedloom.server.deploy.wanted import WantedRun, read_wanted
from fedloom.server.intake import BY_THE_SITE
from fedloom.server.parties import SignedParties
from fedloom.server.report.writing import write_page
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import RoundEntry
from fedloom.server.strategy import RoundObserver
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.values import Name
from fedloom.shared.errors import FedLoomError, PlanError, QuorumError, RunFolderError
from fedloom.shared.logs import log_as_json

logger = logging.getLogger("fedloom.server")
_NAME: TypeAdapter[str] = TypeAdapter(Name)
# Nodes and trainers may come up at the same time as the server.
_PATIENCE_SECONDS = 60.0

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the plan of the wanted run that the context names, and write its report."""
    home = ServerHome(Path(os.environ[HOME]))
    folder = _folder(home, context)
    log_as_json(home.logs / "serverapp.log", run=folder.path.name)
    events = EventLog.of(folder)
    # What comes before the first round is short.
    bound_pulls(0)
    try:
        run = _opened(home, folder, str(context.run_config.get(PLAN, "")))
        began = time.monotonic()
        # Held to the very end: by it the keeper knows that this process lives.
        with folder.locked(by=str(context.run_id)):
            audits = DeployedEvaluation(folder=folder, wanted=read_wanted(folder))
            run_held_plan(grid, run, _before_each_round(folder), audits.observe)
            finish(run, seconds=time.monotonic() - began)
            if audits.at_end():
                write_page(folder)
    except QuorumError as error:
        events.note("failed", _tried_again(error, folder.path.name))
        raise
    except RunFolderError as error:
        # Another Flower run of it is at work, and goes on; or it is wanted no more.
        events.note("refused", str(error))
        raise
    except FedLoomError as error:
        events.note("given-up", str(error))
        raise


def _tried_again(error: QuorumError, name: str) -> str:
    """What comes next is said before the sites' faults, which may be many, and be cut."""
    then = "the keeper tries again"
    if BY_THE_SITE.search(error.faults):
        then += f", in case stewards allow it; fedloom server stop {name} ends it"
    return f"{error.what}; {then} ({error.faults})"


def _before_each_round(folder: RunFolder) -> RoundObserver:
    """Ends a run that is wanted no more: Flower may not have been told of it, or not know it."""

    def look(number: int, adapter: Adapter, entry: RoundEntry | None) -> None:
        if entry is None:
            bound_pulls(adapter.layout.nbytes)
        _check_wanted(read_wanted(folder))

    return look


def _check_wanted(wanted: WantedRun) -> None:
    if wanted.state != "wanted":
        raise RunFolderError(f"run {wanted.name}: {wanted.state}, expected one that is wanted")


def _folder(home: ServerHome, context: Context) -> RunFolder:
    try:
        name = _NAME.validate_python(context.run_config.get(RUN))
    except ValidationError as error:
        raise PlanError(
            "run config: no name of a run, expected what fedloom server run sets"
        ) from error
    return home.run(name)


def _opened(home: ServerHome, folder: RunFolder, claimed: str) -> OpenedRun:
    wanted, plan = read_wanted(folder), folder.read_plan()
    if plan.sha256 != wanted.plan_sha256:
        raise PlanError(f"{folder.plan}: altered since the run was wanted, expected it unchanged")
    if claimed != wanted.plan_sha256:
        raise RunFolderError(
            f"run config: plan {claimed[:12]}…, expected {wanted.plan_sha256[:12]}… as it was "
            "wanted; this Flower run was started or changed by somebody else"
        )
    _check_wanted(wanted)
    sites = {name: keys.link for name, keys in home.sites().items()}
    return OpenedRun(
        folder=folder,
        model=wanted.model,
        start=wanted.start,
        parties=SignedParties(home.coordinator(), sites),
        patience_seconds=_PATIENCE_SECONDS,
        heads=home.heads,
        asks_again=True,
        denied=lambda node, why: EventLog.of(folder).note("refused", f"node {node} {why}"),
    )
