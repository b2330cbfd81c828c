"""What a run that suffered has lost, from its files and the sites' ledgers alone."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fedloom.client.ledger.entries import Entry
from fedloom.client.site.config import read_site_config
from fedloom.client.site.opening import ledger_of
from fedloom.server.deploy.events import EventLog
from fedloom.server.run.checkpoint import read_checkpoint
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import Journal
from fedloom.shared.config.federation import read_federation
from fedloom.shared.errors import FedLoomError
from fedloom.simulation.executors.serial import SerialExecutor
from fedloom.simulation.federation import run_federation
from fedloom.simulation.prepare import prepare
from fedloom.simulation.site_app import app
from tests.support.deployed import SITES, Deployment


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`most_charges` is the highest number of charges, or of releases, that any site's ledger
    has for one round of this plan; `unreleased` counts charges whose update never left."""

    state: str
    accepted: Sequence[int]
    faults: Sequence[str]
    events: Sequence[str]
    ledgers_verify: bool
    most_charges: int
    unreleased: int
    same_as_simulated: bool | None

    def tree(self) -> dict[str, object]:
        return asdict(self)


def verdict(deployed: Deployment, name: str) -> Verdict:
    """Of a run that is at its end."""
    folder = RunFolder(deployed.folder(name))
    plan = folder.read_plan()
    entries = Journal(folder.rounds).entries()
    ledgers, whole = _ledgers(deployed, plan.sha256)
    counted = [_counts(ledger) for ledger in ledgers]
    everyone = len(entries) == plan.rounds.total and all(
        entry.accepted == len(SITES) for entry in entries
    )
    return Verdict(
        state=deployed.state(name),
        accepted=[entry.accepted for entry in entries],
        faults=[
            f"round {entry.round}, {site.site}: {site.fault}"
            for entry in entries
            for site in entry.sites
            if site.fault
        ],
        events=[f"{event.kind}: {event.detail}" for event in EventLog.of(folder).events()],
        ledgers_verify=whole,
        most_charges=max((max(counts.values(), default=0) for counts in counted), default=0),
        unreleased=sum(
            1
            for counts in counted
            for (event, number) in counts
            if event == "reserved" and ("released", number) not in counts
        ),
        same_as_simulated=_is_simulated(deployed, folder) if everyone else None,
    )


def _ledgers(deployed: Deployment, plan_sha256: str) -> tuple[list[list[Entry]], bool]:
    found, whole = [], True
    for site in SITES:
        try:
            entries = ledger_of(read_site_config(deployed.site(site))).entries()
        except FedLoomError:
            whole = False
            continue
        found.append([entry for entry in entries if entry.charge.plan == plan_sha256])
    return found, whole


def _counts(ledger: Sequence[Entry]) -> Counter[tuple[str, int]]:
    return Counter((entry.event, entry.charge.round) for entry in ledger)


def _is_simulated(deployed: Deployment, folder: RunFolder) -> bool:
    prepared = prepare(read_federation(deployed.federation))
    plan = folder.read_plan()
    if plan.sha256 != prepared.plan.sha256:
        return False
    with tempfile.TemporaryDirectory() as scratch:
        simulated = RunFolder(Path(scratch) / "run")
        run_federation(prepared, simulated, SerialExecutor(app))
        here, there = (
            read_checkpoint(at.checkpoints, plan.rounds.total, plan.sha256).flat.tobytes()
            for at in (folder, simulated)
        )
        weights = "adapter_model.safetensors"
        same_file = (folder.adapter / weights).read_bytes() == (
            simulated.adapter / weights
        ).read_bytes()
    return here == there and same_file
