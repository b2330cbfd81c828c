"""Real processes of a deployment killed in the middle of a run; the whole table: `make faults`."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedloom.client.site.config import read_site_config
from fedloom.client.site.opening import ledger_of
from fedloom.server.deploy.events import EventLog
from fedloom.server.run.checkpoint import read_checkpoint
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import Journal
from fedloom.shared.config.federation import read_federation
from fedloom.simulation.executors.serial import SerialExecutor
from fedloom.simulation.federation import run_federation
from fedloom.simulation.prepare import prepare
from fedloom.simulation.site_app import app
from tests.support.deployed import SITES, Deployment, another_plan, deployment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROUNDS = 4


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployment]:
    """Everybody is up, for one run after the other."""
    with deployment(rounds=ROUNDS, rounds_more="deadline_seconds = 90.0") as made:
        for party in ("server", *SITES):
            made.up(party)
        yield made


def begun(deployed: Deployment, seed: int) -> str:
    """A run with a round done; its name."""
    another_plan(deployed.federation, seed=seed, name=f"tiny{seed}")
    name = deployed.run()
    deployed.wait(lambda: deployed.rounds(name) >= 1, "the first round", 300)
    return name


def kill(deployed: Deployment, party: str, what: str) -> None:
    found = deployed.pids(party, what)
    assert found, f"{party}: no {what}"
    for pid in found:
        os.kill(pid, signal.SIGKILL)


def check_whole(deployed: Deployment, name: str, tmp_path: Path) -> None:
    """The run came to its end with every site in every round, each charged once; its adapter is
    the one of a run that nothing happened to."""
    deployed.wait(lambda: deployed.state(name) != "wanted", "the run's end", 300)
    assert deployed.state(name) == "finished", deployed.everything()
    folder = RunFolder(deployed.folder(name))
    plan = folder.read_plan()
    entries = Journal(folder.rounds).entries()
    assert [entry.accepted for entry in entries] == [len(SITES)] * ROUNDS, entries
    for site in SITES:
        charged = ledger_of(read_site_config(deployed.site(site))).entries()
        own = [entry for entry in charged if entry.charge.plan == plan.sha256]
        counts = Counter((entry.event, entry.charge.round) for entry in own)
        rounds = range(1, ROUNDS + 1)
        assert counts == {(event, at): 1 for event in ("reserved", "released") for at in rounds}
    simulated = RunFolder(tmp_path / "run")
    prepared = prepare(read_federation(deployed.federation))
    run_federation(prepared, simulated, SerialExecutor(app))
    here, there = (
        read_checkpoint(at.checkpoints, ROUNDS, plan.sha256).flat.tobytes()
        for at in (folder, simulated)
    )
    assert here == there


def test_a_serverapp_that_is_killed_goes_on_in_another(
    deployed: Deployment, tmp_path: Path
) -> None:
    name = begun(deployed, 101)
    kill(deployed, "server", "flwr-serverapp")
    check_whole(deployed, name, tmp_path)
    kinds = [event.kind for event in EventLog.of(RunFolder(deployed.folder(name))).events()]
    assert kinds == ["started", "failed", "started", "finished"]


def test_a_trainer_that_is_killed_costs_no_round(deployed: Deployment, tmp_path: Path) -> None:
    name = begun(deployed, 102)
    kill(deployed, "site0", "site serve")
    check_whole(deployed, name, tmp_path)


def test_a_site_that_is_away_for_a_while_costs_no_round(
    deployed: Deployment, tmp_path: Path
) -> None:
    name = begun(deployed, 103)
    deployed.kill("site1")
    time.sleep(5)
    deployed.up("site1")
    check_whole(deployed, name, tmp_path)


def test_a_superlink_that_is_killed_costs_no_round(deployed: Deployment, tmp_path: Path) -> None:
    name = begun(deployed, 104)
    kill(deployed, "server", " superlink ")
    check_whole(deployed, name, tmp_path)
