"""The faults, and how each is done to a deployment in the middle of a round."""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.faults.disks import fill, free
from benchmarks.faults.network import Network, sh
from benchmarks.faults.slow import slow_line
from fedloom.client.site.config import read_site_config
from tests.support.deployed import SITES, Deployment

SITE = SITES[0]
SERVERAPP, SUPERLINK, PROXY, KEEPER = "flwr-serverapp", " superlink ", "nginx", "deploy.keep"
NODE, TRAINER, RELAYS = " supernode ", "site serve", " superexec "
_FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The deployment that is to suffer; what is lifted at the run's end goes into `until_end`."""

    deployed: Deployment
    network: Network
    until_end: ExitStack = field(default_factory=ExitStack)

    def kill(self, party: str, what: str) -> None:
        """SIGKILL the processes of a party that `what` is in the command line of."""
        found = self.deployed.pids(party, what)
        if not found:
            raise AssertionError(f"{party}: no process {what!r} to kill")
        for pid in found:
            os.kill(pid, signal.SIGKILL)

    def supervisor(self, *words: str) -> None:
        """Tell the server's supervisor."""
        config = self.deployed.server / "supervisord.conf"
        sh(sys.executable, "-W", "ignore", "-m", "supervisor.supervisorctl", "-c", config, *words)


Strike = Callable[[Scene], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault by its key; `strike` returns when it is over and what was broken may mend."""

    key: str
    words: str
    strike: Strike
    needs: Path | None = None


def _site_away(scene: Scene, seconds: float) -> None:
    scene.deployed.kill(SITE)
    time.sleep(seconds)
    scene.deployed.up(SITE)


def _cut(scene: Scene, seconds: float) -> None:
    scene.network.cut(SITE)
    time.sleep(seconds)
    scene.network.mend(SITE)


def _slow(scene: Scene) -> None:
    port = scene.deployed.port + 7
    line = slow_line(scene.network, SITE, port, delay=0.3, rate=125_000)
    scene.until_end.enter_context(line)


def _superlink_away(scene: Scene, seconds: float) -> None:
    scene.supervisor("stop", "superlink")
    time.sleep(seconds)
    scene.supervisor("start", "superlink")


def _full(folder: Path, seconds: float) -> None:
    fill(folder)
    time.sleep(seconds)
    free(folder)


def _clock(scene: Scene, seconds: float) -> None:
    deployed, usual = scene.deployed, list(scene.deployed.within.get(SITE, ()))
    deployed.down(SITE)
    ahead = ["env", f"LD_PRELOAD={_FAKETIME}", "FAKETIME=+600s", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
    deployed.within[SITE] = [*usual, *ahead]
    deployed.up(SITE)
    time.sleep(seconds)
    deployed.down(SITE)
    deployed.within[SITE] = usual
    deployed.up(SITE)


def _power_cut(scene: Scene) -> None:
    parties = ("server", *SITES)
    for party in parties:
        scene.deployed.kill(party)
    for party in parties:
        scene.deployed.up(party)


def _killed(party: str, what: str) -> Strike:
    return lambda scene: scene.kill(party, what)


def faults() -> dict[str, Fault]:
    """All faults, in the order of the table."""
    found = [
        Fault(key="none", words="no fault", strike=lambda _: None),
        Fault(key="node", words="a site's node killed", strike=_killed(SITE, NODE)),
        Fault(key="trainer", words="its trainer killed in training", strike=_killed(SITE, TRAINER)),
        Fault(key="relays", words="what starts its relays killed", strike=_killed(SITE, RELAYS)),
        Fault(
            key="site",
            words="the whole site killed, up again after 20 s",
            strike=partial(_site_away, seconds=20),
        ),
        Fault(key="cut30", words="a site's network cut for 30 s", strike=partial(_cut, seconds=30)),
        Fault(
            key="cut100", words="a site's network cut for 100 s", strike=partial(_cut, seconds=100)
        ),
        Fault(key="slow", words="a site's line slow to the run's end", strike=_slow),
        Fault(key="serverapp", words="ServerApp killed", strike=_killed("server", SERVERAPP)),
        Fault(key="superlink", words="SuperLink killed", strike=_killed("server", SUPERLINK)),
        Fault(
            key="superlink5",
            words="SuperLink stopped for 5 s",
            strike=partial(_superlink_away, seconds=5),
        ),
        Fault(
            key="superlink120",
            words="SuperLink stopped for 120 s",
            strike=partial(_superlink_away, seconds=120),
        ),
        Fault(key="nginx", words="nginx killed", strike=_killed("server", PROXY)),
        Fault(
            key="disk-server",
            words="the disk of the server's runs full for 20 s",
            strike=lambda scene: _full(scene.deployed.server / "runs", 20),
        ),
        Fault(
            key="disk-site",
            words="the disk of a site's state full for 20 s",
            strike=lambda scene: _full(read_site_config(scene.deployed.site(SITE)).state, 20),
        ),
        Fault(
            key="clock",
            words="a site's clock 10 minutes ahead for 40 s",
            strike=partial(_clock, seconds=40),
            needs=Path(_FAKETIME),
        ),
        Fault(key="keeper", words="the keeper killed", strike=_killed("server", KEEPER)),
        Fault(key="power", words="all processes of all parties killed at once", strike=_power_cut),
    ]
    return {fault.key: fault for fault in found}
