"""Rounds a minute at one site: a relay before a standing service, against loading at each message.

Flower starts a fresh process for each message. Either that process is FedLoom's relay, which
hands the task to `fedloom site serve`, or it loads libraries, base model and records itself, as
a ClientApp without a service would. Both answer the same rounds of the demo's plan for one of
its sites, in turn, each with a ledger of its own; the model's self-check and the kept hidden
states are there before the first round, for both. Times are wall times, so that only the ratio
within a turn means much on a shared machine.

    python -m benchmarks.relay [--site nyt-editorials] [--repeats 5]
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Context, Message, RecordDict

from benchmarks.cases import demo_config
from benchmarks.common import Times, medians, parser_of, print_table, ratios, write_json
from fedloom.client.rpc.address import read_address
from fedloom.client.rpc.remote import SITE_SERVICE, RemoteSite
from fedloom.server.initial import initial_adapter
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.federation import read_federation
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.flower import from_records, to_records
from fedloom.shared.wire.messages import AdapterUpdate, HelloHeader, HelloQuestion, TrainTask
from fedloom.simulation.executors.base import Job
from fedloom.simulation.executors.pool import Worker
from fedloom.simulation.federation import write_site
from fedloom.simulation.grid import become_server
from fedloom.simulation.prepare import Prepared, prepare
from fedloom.simulation.site_app import SITE_SETTINGS

RELAY, LOADING = "relay and service", "loading at each message"
_START_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Way:
    """A ClientApp as `module:attribute`, and what a node's config tells it."""

    component: str
    node: Mapping[str, str]


def ways(prepared: Prepared, site: str, home: Path) -> dict[str, tuple[Way, Path]]:
    """Each way with the settings of a site of its own."""
    section = next(at for at in prepared.config.data.sites if at.name == site)
    settings = {name: write_site(prepared, section, home / name[:5]) for name in (RELAY, LOADING)}
    socket = settings[RELAY].with_name("trainer.sock")
    return {
        RELAY: (
            Way(component="fedloom.client.app:app", node={SITE_SERVICE: f"unix:{socket}"}),
            settings[RELAY],
        ),
        LOADING: (
            Way(
                component="fedloom.simulation.site_app:app",
                node={SITE_SETTINGS: str(settings[LOADING])},
            ),
            settings[LOADING],
        ),
    }


@contextmanager
def standing(settings: Path) -> Iterator[None]:
    """`fedloom site serve`, for the length of the block."""
    command = [sys.executable, "-m", "fedloom.cli", "site", "serve", str(settings)]
    service = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    socket = settings.with_name("trainer.sock")
    site = RemoteSite(read_address(f"unix:{socket}", None, side="relay"))
    try:
        _wait_for(site, socket)
        yield
    finally:
        service.terminate()
        service.wait()


def _wait_for(site: RemoteSite, socket: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while not socket.exists():
        if time.monotonic() > end:
            raise TimeoutError("the service does not listen")
        time.sleep(0.1)
    question = Envelope(frame=HelloQuestion.fresh().frame())
    HelloHeader.parse(site.hello(question).frame.header)


def one_message(way: Way, task: TrainTask) -> float:
    """Wall seconds from the start of a fresh process to its update."""
    message = Message(to_records(Envelope(frame=task.pack())), dst_node_id=2, message_type="train")
    context = Context(
        run_id=1, node_id=2, node_config=dict(way.node), state=RecordDict(), run_config={}
    )
    began = time.perf_counter()
    worker = Worker(way.component)
    worker.give(Job(message=message, context=context))
    reply = worker.take()
    took = time.perf_counter() - began
    worker.kill()
    if reply is None:
        raise RuntimeError("the ClientApp died")
    frame = from_records(reply.content).frame
    AdapterUpdate.unpack(frame, size=len(frame.payload) // 4)
    return took


def measure(prepared: Prepared, site: str, *, repeats: int) -> Times:
    """The first round of each way is not timed: it checks the model and fills hidden states."""
    start: Adapter = initial_adapter(prepared.plan, prepared.model, None)
    times: dict[str, list[float]] = {RELAY: [], LOADING: []}
    with tempfile.TemporaryDirectory(prefix="fl-") as home, ExitStack() as open_services:
        found = ways(prepared, site, Path(home))
        open_services.enter_context(standing(found[RELAY][1]))
        for number in range(1, repeats + 2):
            task = TrainTask(plan=prepared.plan, site=site, round=number, adapter=start)
            for name, (way, _) in found.items():
                took = one_message(way, task)
                if number > 1:
                    times[name].append(took)
    return times


def main() -> None:
    parser = parser_of(__doc__, json_name="relay.json")
    parser.add_argument("--site", default="nyt-editorials")
    options = parser.parse_args()
    become_server()
    times = measure(prepare(read_federation(demo_config())), options.site, repeats=options.repeats)
    middle, ratio = medians(times), ratios(times, to=LOADING)
    rows = [
        (name, f"{middle[name]:.2f} s", f"{60 / middle[name]:.1f}", f"{1 / ratio[name]:.1f}")
        for name in middle
    ]
    print_table(("", "a round", "rounds a minute", "times loading"), rows)
    write_json(options.json, {"seconds": middle, "times_loading": 1 / ratio[RELAY]})


if __name__ == "__main__":
    main()
