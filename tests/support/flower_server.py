"""Flower's server as the keeper sees it, in memory, and wanted runs without a plan."""

from dataclasses import dataclass, field
from pathlib import Path

from fedloom.server.deploy.control import ENDED, FlowerRun, NodeState, node_public_key
from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.wanted import WantedRun, read_wanted, write_wanted
from fedloom.server.run.checkpoint import checkpoint_path
from fedloom.server.run.folder import RunFolder
from fedloom.shared.errors import DeployError
from fedloom.shared.keys import SigningKey
from fedloom.shared.kits.document import PartyKeys
from fedloom.shared.kits.node_key import NodeKey

PLAN_SHA256 = "ab" * 32


class Killed(BaseException):
    """The keeper dies at this point."""


@dataclass
class FlowerServer:
    """Nodes and runs; `away` refuses everything, `dies_after` kills the caller of a method once."""

    registered: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    once_known: set[bytes] = field(default_factory=set)
    runs: dict[str, tuple[str, FlowerRun]] = field(default_factory=dict)
    away: bool = False
    answers_get_lost: bool = False
    dies_after: str = ""
    calls: list[str] = field(default_factory=list)

    def nodes(self) -> list[NodeState]:
        self._called("nodes")
        return [
            NodeState(node_id=number, name=name, public_key=key, online=True, last_seen=None)
            for number, (name, key) in self.registered.items()
        ]

    def register(self, name: str, public_key: bytes) -> None:
        self._called("register")
        # As Flower 1.41 does: a key that was let out once stays taken.
        if public_key in self.once_known:
            raise DeployError("Flower's server says 400: Public key already in use.")
        self.once_known.add(public_key)
        self.registered[len(self.once_known)] = (name, public_key)

    def unregister(self, node_id: int) -> None:
        self._called("unregister")
        del self.registered[node_id]

    def start(self, app: str, run: str, plan_sha256: str) -> str:
        self._called("start")
        number = str(len(self.runs) + 1)
        self.runs[number] = (run, FlowerRun(status="pending", outcome="", details=""))
        if self.answers_get_lost:
            raise DeployError("Flower's server does not answer: ReadTimeout")
        if self.dies_after == "start":
            self.dies_after = ""
            raise Killed
        return number

    def run(self, number: str) -> FlowerRun | None:
        self._called("run")
        return self.runs[number][1] if number in self.runs else None

    def lasting(self) -> dict[str, str]:
        self._called("lasting")
        return {name: number for number, (name, run) in self.runs.items() if not run.ended}

    def stop(self, number: str) -> None:
        self._called("stop")
        self.end(number, "stopped")

    def end(self, number: str, outcome: str = "failed", details: str = "") -> None:
        """What a ServerApp, or its loss, brings about."""
        name, _ = self.runs[number]
        self.runs[number] = (name, FlowerRun(status=ENDED, outcome=outcome, details=details))

    @property
    def at_work(self) -> list[str]:
        """The wanted runs that Flower works on."""
        return [name for name, run in self.runs.values() if not run.ended]

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if self.away:
            raise DeployError("Flower's server does not answer: ConnectError")


def want(home: ServerHome, name: str, *, created: float = 0.0, **more: object) -> RunFolder:
    """A wanted run."""
    folder = home.run(name)
    folder.checkpoints.mkdir(parents=True)
    fields = {"name": name, "plan_sha256": PLAN_SHA256, "model": Path("model"), "created": created}
    write_wanted(folder, WantedRun.model_validate(fields | more))
    return folder


def one_round_more(folder: RunFolder) -> None:
    """A durable round, as far as the keeper looks."""
    number = len(list(folder.checkpoints.iterdir()))
    checkpoint_path(folder.checkpoints, number + 1).touch()


def state(folder: RunFolder) -> str:
    return read_wanted(folder).state


def kinds(folder: RunFolder) -> list[str]:
    """What the event log says happened."""
    return [event.kind for event in EventLog.of(folder).events()]


def some_keys() -> PartyKeys:
    return PartyKeys(link=SigningKey.generate().public, node=NodeKey.generate().public)


def node_of(keys: PartyKeys) -> bytes:
    return node_public_key(keys.node)
