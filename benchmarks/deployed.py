"""What a deployed round costs beyond training: FedLoom against plain Flower, and bytes on the wire.

FedLoom's deployment (proxy with TLS, signed messages, relay, standing trainer service) and plain
Flower's (`--insecure`, subprocess isolation, an app that loads model and records at each message)
are up at once, each behind a forwarder that counts bytes. They take turns at a few rounds of the
same LoRA on the demo's model at two sites; a third has Flower's loops pause as shortly as
FedLoom's, so that what is due to pauses alone shows. A round is the time from one round's end to
the next one's; the first of each turn has none. Training is what the slower site needed: its
steps in the plain app, from charged to sealed in FedLoom's trainer. Last, the plain app without
model or training carries the same adapter as one array and as one array for each tensor.

    python -m benchmarks.deployed [--repeats 3] [--rounds 3]
"""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from benchmarks.cases import demo_config
from benchmarks.common import parser_of, print_table, write_json
from benchmarks.deployed_fedloom import FedLoom, write_federation
from benchmarks.deployed_plain import PlainFlower, Shape
from benchmarks.deployed_rounds import Found, Round, rounds_of, summary, watched
from benchmarks.forwarder import Wire, forwarding
from fedloom.simulation.demo.hutto import MODEL
from tests.support.deployed import free_ports
from tests.support.served import short_folder

FEDLOOM, PLAIN, QUICK = "FedLoom", "plain Flower", "plain Flower, short pauses"
FLAT, TENSORS = "one array", "one array a tensor"
SITES = ("nyt-editorials", "amazon-reviews")
_T = TypeVar("_T")
_UNITS = 2000


@contextmanager
def plain(
    home: Path, shape: Shape, port: int, *, quick: bool
) -> Iterator[tuple[PlainFlower, Wire]]:
    """A plain deployment that is up, on eight ports from `port` on."""
    home.mkdir()
    deployed = PlainFlower(home=home, shape=shape, port=port, public_port=port + 7, quick=quick)
    with forwarding(port + 7, to=port) as wire:
        try:
            deployed.up()
            yield deployed, wire
        finally:
            deployed.end()


@contextmanager
def fedloom(home: Path, shape: Shape, port: int) -> Iterator[tuple[FedLoom, Wire]]:
    """FedLoom's deployment that is up, on 17 ports from `port` on."""
    home.mkdir()
    deployed = FedLoom(
        home=home, federation=write_federation(home, shape, units=_UNITS), port=port,
        shape=shape, public_port=port + 16, units=_UNITS,
    )  # fmt: skip
    deployed.prepare()
    with forwarding(port + 16, to=deployed.proxy_port) as wire:
        try:
            for party in ("server", *shape.records):
                deployed.up(party)
            yield deployed, wire
        finally:
            deployed.end()


def fedloom_turn(deployed: FedLoom, wire: Wire, rounds: int) -> list[Round]:
    """One run of FedLoom's."""
    began, run = time.time(), deployed.begin_run(rounds)
    marks = watched(deployed.journal(run), wire, rounds)
    deployed.finish(run)
    return rounds_of(marks, deployed.trained(began))


def plain_turn(
    deployed: PlainFlower, wire: Wire, rounds: int, **changes: bool | int
) -> list[Round]:
    """One run of the plain app."""
    journal = deployed.run(rounds, **changes)
    marks = watched(journal, wire, rounds)
    lines = map(json.loads, journal.read_text(encoding="utf-8").splitlines())
    return rounds_of(marks, {line["round"]: line["train"] for line in lines})


Turn = Callable[[], list[Round]]
Up = tuple[_T, Wire]


def measure(turns: Mapping[str, Turn]) -> Iterator[Found]:
    """Rounds of each by turn; they take their turns, and after each of these it is all so far."""
    found: dict[str, list[list[Round]]] = {name: [] for name in turns}
    while True:
        for name, turn in turns.items():
            found[name].append(turn())
            print(f"{name}: {', '.join(map(str, found[name][-1]))}", flush=True)
            time.sleep(1.0)
        yield found


def _show(summed: Mapping[str, Mapping[str, float]]) -> None:
    head = ("", "rounds", "round", "training", "beyond", "least", "most", "ratio", "kB up",
            "kB down", "ratio")  # fmt: skip
    rows = [
        (
            name, f"{at['rounds']}",
            *(f"{at[key]:.2f} s" for key in
              ("seconds", "training", "beyond", "least_beyond", "most_beyond")),
            f"{at['beyond_ratio']:.3f}", f"{at['up'] / 1000:.0f}", f"{at['down'] / 1000:.0f}",
            f"{at['bytes_ratio']:.3f}",
        )
        for name, at in summed.items()
    ]  # fmt: skip
    print_table(head, rows)


def turns_of(
    own: Up[FedLoom], usual: Up[PlainFlower], quick: Up[PlainFlower], rounds: int
) -> dict[str, Turn]:
    """All that take turns."""
    carry = partial(plain_turn, *quick, rounds, steps=0)
    return {
        FEDLOOM: partial(fedloom_turn, *own, rounds),
        PLAIN: partial(plain_turn, *usual, rounds),
        QUICK: partial(plain_turn, *quick, rounds),
        FLAT: partial(carry, flat=True),
        TENSORS: partial(carry, flat=False),
    }


def reported(found: Found) -> dict[str, object]:
    """Show both tables; what goes into the file."""
    tables = {
        "deployed": summary({name: found[name] for name in (FEDLOOM, PLAIN, QUICK)}, to=PLAIN),
        "wire": summary({name: found[name] for name in (FLAT, TENSORS)}, to=TENSORS),
    }
    for table in tables.values():
        _show(table)
    every = {
        name: [[asdict(each) for each in turn] for turn in turns] for name, turns in found.items()
    }
    return {**tables, "every_round": every}


def main() -> None:
    parser = parser_of(__doc__, json_name="deployed.json")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    # An end by a signal must end all processes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = demo_config().parent
    shape = Shape(model=folder / MODEL, records={name: folder / f"{name}.jsonl" for name in SITES})
    with ExitStack() as stack:
        home = stack.enter_context(short_folder())
        # All at once: a port that is not served yet counts as free.
        port = free_ports(33)
        turns = turns_of(
            stack.enter_context(fedloom(home / "f", shape, port)),
            stack.enter_context(plain(home / "p", shape, port + 17, quick=False)),
            stack.enter_context(plain(home / "q", shape, port + 25, quick=True)),
            options.rounds,
        )
        for found in islice(measure(turns), options.repeats):
            write_json(options.json, reported(found))


if __name__ == "__main__":
    main()
