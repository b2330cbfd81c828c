"""`python -m benchmarks.faults [--only KEY ...]`: the table of faults, a quarter of an hour and more.

Needs root, iproute2 and nginx; without namespaces it says so and ends with status 2.
"""  # noqa: E501

import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.faults.disks import small_disk
from benchmarks.faults.injuries import SITE, Fault, Scene, faults
from benchmarks.faults.network import SERVER, Network, NoNetwork, network
from benchmarks.faults.tables import keep, markdown, write_into
from benchmarks.faults.watching import ROUNDS, Outcome, suffer
from fedloom.client.site.config import read_site_config
from fedloom.shared.quiet import quiet_libraries
from tests.support.deployed import SITES, Deployment, declare_units, free_ports
from tests.support.served import short_folder
from tests.support.tiny import write_federation

_PRIVACY = "noise_multiplier = 4.0\ndelta = 1e-4\nnoise_seed = 1"
_PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def main() -> int:
    asked = _asked()
    # Whoever stops it must not have to clean up after it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    known = faults()
    wanted = [known[key] for key in asked.only or known]
    quiet_libraries()
    try:
        with network(SITES) as made, _up(made) as deployed:
            for number, fault in enumerate(wanted):
                _one(Scene(deployed=deployed, network=made), fault, number, asked)
    except NoNetwork as error:
        print(f"no network namespaces: {error}")
        return 2
    return 0


def _asked() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(faults()), metavar="KEY")
    parser.add_argument("--json", type=Path, default=Path("faults.json"))
    parser.add_argument("--page", type=Path, default=_PAGE)
    return parser.parse_args()


@contextmanager
def _up(made: Network) -> Iterator[Deployment]:
    """Everybody has joined, and is up."""
    with short_folder() as home, ExitStack() as after:
        federation = write_federation(
            home, rounds=ROUNDS, steps=12, privacy=_PRIVACY, rounds_more="deadline_seconds = 90.0"
        )
        declare_units(federation)
        deployed = Deployment(
            home=home,
            federation=federation,
            port=free_ports(17),
            host=SERVER,
            listen=SERVER,
            within={site: made.within(site) for site in SITES},
        )
        deployed.prepare()
        runs = deployed.server / "runs"
        runs.mkdir(mode=0o700, exist_ok=True)
        after.enter_context(small_disk(runs, megabytes=64))
        state = read_site_config(deployed.site(SITE)).state
        after.enter_context(small_disk(state, megabytes=16))
        after.callback(deployed.end)
        for party in ("server", *SITES):
            deployed.up(party)
        yield deployed


def _one(scene: Scene, fault: Fault, number: int, asked: Namespace) -> None:
    began = time.monotonic()
    if fault.needs is not None and not fault.needs.exists():
        print(f"{fault.key}: not run, no {fault.needs}", flush=True)
        return
    outcome = suffer(scene, fault, seed=int(time.time()) % 1_000_000 + number)
    _told(outcome, time.monotonic() - began)
    trees = keep(asked.json, [outcome.tree()])
    if asked.page.is_file():
        write_into(asked.page, markdown(trees, list(faults())))


def _told(outcome: Outcome, seconds: float) -> None:
    print(markdown([outcome.tree()], [outcome.key]).splitlines()[-1])
    print(f"  ({outcome.key}: {seconds:.0f} s)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
