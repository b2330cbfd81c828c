"""One fault done to one run, with a clock beside it."""

import sqlite3
import time
from dataclasses import asdict, dataclass

from benchmarks.faults.injuries import SERVERAPP, SITE, Fault, Scene
from benchmarks.faults.verdict import Verdict, verdict
from fedloom.client.site.config import read_site_config
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import Journal
from tests.support.deployed import SITES, Deployment, another_plan

ROUNDS, STRUCK = 6, 3
_LONGEST_SECONDS = 480.0
_COUNT = "SELECT count(*) FROM entries"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`whole_again` is from the fault's end to the next durable round in which every site
    counted, `to_end` from the fault's beginning to the end of the run; both None where it never
    came to that. `left_behind` counts ServerApps that outlived their run."""

    key: str
    words: str
    fault_seconds: float
    whole_again: float | None
    to_end: float | None
    run_seconds: float
    left_behind: int
    verdict: Verdict

    def tree(self) -> dict[str, object]:
        return asdict(self)


def suffer(scene: Scene, fault: Fault, *, seed: int) -> Outcome:
    """Run a plan of its own, let the fault happen in the middle of a round, and wait."""
    deployed = scene.deployed
    another_plan(deployed.federation, seed=seed, name=f"faults-{fault.key}")
    began = time.monotonic()
    name = deployed.run()
    deployed.wait(lambda: deployed.rounds(name) >= STRUCK - 1, "the rounds before", 240)
    _wait_until_training(deployed)
    struck = time.monotonic()
    with scene.until_end:
        fault.strike(scene)
        over = time.monotonic()
        before = deployed.rounds(name)
        whole_again, end = _watched(deployed, name, over, before)
    if end is None:
        deployed.fedloom("server", "stop", "--kit", deployed.server, name, ok=False)
        time.sleep(5)
    else:
        _wait_for_serverapp(deployed)
    return Outcome(
        key=fault.key,
        words=fault.words,
        fault_seconds=over - struck,
        whole_again=whole_again,
        to_end=None if end is None else end - struck,
        run_seconds=(end or time.monotonic()) - began,
        left_behind=len(deployed.pids("server", SERVERAPP)),
        verdict=verdict(deployed, name),
    )


def _watched(
    deployed: Deployment, name: str, over: float, before: int
) -> tuple[float | None, float | None]:
    """Seconds from the fault's end until all count again; when the run was at its end."""
    whole_again: float | None = None
    journal = Journal(RunFolder(deployed.folder(name)).rounds)
    while time.monotonic() < over + _LONGEST_SECONDS:
        new = journal.entries()[before:]
        if whole_again is None and any(entry.accepted == len(SITES) for entry in new):
            whole_again = time.monotonic() - over
        if deployed.state(name) != "wanted":
            return whole_again, time.monotonic()
        time.sleep(0.2)
    return whole_again, None


def _wait_until_training(deployed: Deployment) -> None:
    """Until the site has charged a round that it has not sealed."""
    file = read_site_config(deployed.site(SITE)).state / "ledger.sqlite"
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as ledger:
        end = time.monotonic() + 90
        # The opening, then two entries for each round that is sealed.
        while ledger.execute(_COUNT).fetchone()[0] % 2 == 1:
            if time.monotonic() > end:
                raise AssertionError(f"{SITE} does not train\n{deployed.everything()}")
            time.sleep(0.01)
    ledger.close()


def _wait_for_serverapp(deployed: Deployment) -> None:
    end = time.monotonic() + 60
    while deployed.pids("server", SERVERAPP) and time.monotonic() < end:
        time.sleep(0.5)
