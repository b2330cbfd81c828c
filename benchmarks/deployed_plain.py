"""Flower's own commands with the plain app: `flower-superlink` and a `flower-supernode` a site."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from flwr.cli.build import build_fab_from_files
from flwr.common.serde import user_config_to_proto
from flwr.proto.control_pb2 import ListNodesRequest, StartRunRequest
from flwr.proto.fab_pb2 import Fab
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from fedloom.shared.supervising import own_program

APP = Path(__file__).parent / "plain"
_WAIT_SECONDS = 120.0
# The pauses of FedLoom's deployment, for a plain one that shall have the same.
_QUICK_SUPEREXEC, _QUICK_SERVER = "0.3", 0.05


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What both deployments train: the model, records by site, and the numbers of a round."""

    model: Path
    records: Mapping[str, Path]
    steps: int = 1
    batch: int = 16
    rank: int = 8
    targets: tuple[str, ...] = ("query", "key", "value", "dense")
    tokens: int = 128


@dataclass
class PlainFlower:
    """Subprocess isolation and no TLS, as `flower-superlink --insecure` serves it.

    `quick` gives Flower's loops the pauses that they have in FedLoom's deployment.
    """

    home: Path
    shape: Shape
    port: int
    public_port: int
    quick: bool = False
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def up(self) -> None:
        """Server and nodes, until all are connected."""
        link = [own_program("flower-superlink"), "--insecure", "--port", str(self.port)]
        self._start("server", link)
        self._wait(lambda: self._nodes() == 0)
        for number, (name, records) in enumerate(self.shape.records.items(), start=1):
            own = ["--port", str(self.port + number), "--node-config", f'records="{records}"']
            server = f"127.0.0.1:{self.public_port}"
            self._start(name, [*self._supernode(), "--insecure", "--superlink", server, *own])
        self._wait(lambda: self._nodes() == len(self.shape.records))

    def run(self, rounds: int, **changes: bool | int) -> Path:
        """Start a run; the journal in which each of its rounds will have a line."""
        journal = self.home / f"{time.time_ns()}.jsonl"
        config = {**self._config(), "rounds": rounds, "journal": str(journal), **changes}
        content = bundle()
        fab = Fab(hash_str=hashlib.sha256(content).hexdigest(), content=content)
        with self._control() as control:
            request = StartRunRequest(fab=fab, override_config=user_config_to_proto(config))
            control.StartRun(request)
        return journal

    def end(self) -> None:
        """All processes, and what they started."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def said(self) -> str:
        """The end of what each process said."""
        logs = sorted(self.home.glob("*.out"))
        return "\n".join(f"== {log.name}\n{log.read_text()[-3000:]}" for log in logs)

    def _supernode(self) -> list[str]:
        if self.quick:
            return [sys.executable, "-P", str(Path(__file__).with_name("quick_node.py"))]
        return [own_program("flower-supernode")]

    def _config(self) -> dict[str, bool | int | float | str]:
        shape = self.shape
        return {
            "model": str(shape.model),
            "steps": shape.steps,
            "batch": shape.batch,
            "rank": shape.rank,
            "targets": ",".join(shape.targets),
            "tokens": shape.tokens,
            **({"poll": _QUICK_SERVER} if self.quick else {}),
        }

    def _start(self, name: str, command: list[str]) -> None:
        log = (self.home / f"{name}.out").open("ab")
        self.processes.append(
            subprocess.Popen(
                command, cwd=self.home, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=self._environment(name), start_new_session=True,
            )
        )  # fmt: skip

    def _environment(self, name: str) -> dict[str, str]:
        home = self.home / f"flower-{name}"
        home.mkdir(mode=0o700)
        quick = {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": _QUICK_SUPEREXEC} if self.quick else {}
        return os.environ | quick | {
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(own_program('python')).parent}:{os.environ['PATH']}",
        }  # fmt: skip

    def _control(self) -> ControlHttpClient:
        plugins = [RuntimeVersionHttpInterceptor(component_name="benchmark")]
        return ControlHttpClient.from_server_address(f"127.0.0.1:{self.port}", True, None, plugins)

    def _nodes(self) -> int | None:
        with suppress(httpx.HTTPError), self._control() as control:
            nodes = control.ListNodes(ListNodesRequest()).nodes_info
            return sum(node.status == "online" for node in nodes)
        return None

    def _wait(self, what: Callable[[], bool]) -> None:
        end = time.monotonic() + _WAIT_SECONDS
        while not what():
            if time.monotonic() > end:
                raise TimeoutError(f"plain Flower does not come up\n{self.said()}")
            time.sleep(0.2)


def bundle() -> bytes:
    """The plain app with its code, as `flwr build` packs it."""
    names = ("pyproject.toml", "LICENSE", "plain.py")
    return build_fab_from_files({name: (APP / name).read_bytes() for name in names})[0]
