"""What a coordinator sees of its server at a glance."""

from collections.abc import Iterator
from datetime import datetime

from fedloom.server.deploy.control import NodeState, flower_control, node_public_key
from fedloom.server.deploy.door import turned_away
from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.proxy import access_log
from fedloom.server.deploy.settings import ServerSettings
from fedloom.server.deploy.wanted import WantedRun, runs_of
from fedloom.server.run.budgets import read_budgets
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import Journal
from fedloom.server.run.telling import round_told
from fedloom.shared.errors import DeployError, FedLoomError
from fedloom.shared.health import is_healthy
from fedloom.shared.ports import is_taken
from fedloom.shared.printable import printable
from fedloom.shared.words import count

_EVENTS, _DOOR, _RUNS = 5, 8, 5


def status_lines(home: ServerHome) -> Iterator[str]:
    """Processes, sites, runs, and who was turned away; one line each.

    Raises:
        ConfigError, CredentialError: the folder is not a server's, or damaged.
    """
    settings = home.settings()
    yield f"server    {settings.federation} at {settings.public_address}"
    yield from _processes(settings)
    yield from _sites(home)
    runs = sorted(runs_of(home), key=lambda pair: pair[1].created)[-_RUNS:]
    for folder, wanted in runs:
        yield from _run_told(folder, wanted)
    yield from _door(home)


def _processes(settings: ServerSettings) -> Iterator[str]:
    flower = is_healthy(f"127.0.0.1:{settings.health_port}")
    keeper = is_healthy(f"127.0.0.1:{settings.keeper_health_port}")
    proxy = is_taken(settings.port, settings.listen)
    states = {"superlink": flower, "proxy": proxy, "keeper": keeper}
    said = ", ".join(f"{name} {'up' if up else 'DOWN'}" for name, up in states.items())
    yield f"processes {said}"


def _sites(home: ServerHome) -> Iterator[str]:
    nodes = _nodes(home)
    for name, keys in home.sites().items():
        node = nodes.get(node_public_key(keys.node))
        yield f"site      {name}: {_seen(node)}"


def _nodes(home: ServerHome) -> dict[bytes, NodeState]:
    try:
        with flower_control(home) as control:
            return {node.public_key: node for node in control.nodes()}
    except DeployError:
        return {}


def _seen(node: NodeState | None) -> str:
    if node is None:
        return "not known to Flower's server, or that is down"
    if node.last_seen is None:
        return "never seen"
    at = f"{datetime.fromtimestamp(node.last_seen).astimezone():%Y-%m-%d %H:%M:%S}"
    return f"online, last seen {at}" if node.online else f"OFFLINE since about {at}"


def _run_told(folder: RunFolder, wanted: WantedRun) -> list[str]:
    try:
        return list(_run(folder, wanted))
    except FedLoomError as error:
        # The page is for the day on which something is wrong.
        return [f"run       {wanted.name}: DAMAGED, {error}"]


def _run(folder: RunFolder, wanted: WantedRun) -> Iterator[str]:
    entries = Journal(folder.rounds).entries()
    total = folder.read_plan().rounds.total
    yield f"run       {wanted.name}: {wanted.state}, {len(entries)} of {total} rounds"
    if entries:
        yield f"  {round_told(entries[-1])}"
    refused = {
        (at.site, at.fault): entry.round for entry in entries for at in entry.sites if at.fault
    }
    for (site, why), number in refused.items():
        yield printable(f"  site {site}: {why}, last in round {number}")
    for event in EventLog.of(folder).events()[-_EVENTS:]:
        at = f"{datetime.fromtimestamp(event.at).astimezone():%Y-%m-%d %H:%M:%S}"
        yield f"  {at} {event.kind}: {event.detail}"
    for site, budget in read_budgets(folder.budgets).items():
        yield printable(f"  budget of {site} as the run began: {budget.described}")


def _door(home: ServerHome) -> Iterator[str]:
    for away in turned_away(access_log(home))[:_DOOR]:
        yield (
            f"refused   {count(away.times, 'request')} from {away.peer}: {away.why}; "
            f"last {away.path} at {away.last}"
        )
