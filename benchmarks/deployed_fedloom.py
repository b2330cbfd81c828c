"""FedLoom's deployment of the same federation, brought up by the command line alone."""

import json
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import tomli_w

from benchmarks.deployed_plain import Shape
from tests.support.deployed import Deployment, change

_NOISE, _DELTA = 1.0, 1e-5
# Of ports in a row: Flower's and the keeper's five, the proxy, and three for each site.
_PROXY, _SITES, _PORTS_OF_A_SITE = 5, 6, 3


def write_federation(home: Path, shape: Shape, *, units: int) -> Path:
    """`federation.toml` of `shape`, private; `rounds.total` is changed before each run."""
    tree = {
        "federation": {"name": "bench"},
        "model": {"path": str(shape.model), "max_length": shape.tokens},
        "task": {"labels": ["negative", "positive"]},
        "lora": {"rank": shape.rank, "targets": list(shape.targets)},
        "privacy": {"noise_multiplier": _NOISE, "delta": _DELTA},
        "training": {
            "local_steps": shape.steps,
            "expected_batch_size": shape.batch,
            "precision": "fp32",
        },
        # Both matrices of LoRA travel, as they do in the plain app.
        "aggregation": {"method": "fedit"},
        "rounds": {"total": 1, "quorum": len(shape.records)},
        "data": {
            "sites": [
                {"name": name, "path": str(path), "declared_units": units}
                for name, path in shape.records.items()
            ]
        },
    }
    path = home / "federation.toml"
    path.write_text(tomli_w.dumps(tree), encoding="utf-8")
    return path


@dataclass
class FedLoom(Deployment):
    """A server behind its proxy, and sites that reach it through the forwarder."""

    shape: Shape = field(kw_only=True)
    public_port: int = field(kw_only=True)
    units: int = field(kw_only=True)

    @property
    def proxy_port(self) -> int:
        """Where the forwarder finds the proxy."""
        return self.port + _PROXY

    def prepare(self) -> None:
        """Provision; each site makes its own keys and joins."""
        names = list(self.shape.records)
        for number, name in enumerate(names):
            self._begin(name, node_port=self.port + _SITES + _PORTS_OF_A_SITE * number)
        requests = [word for name in names for word in ("--request", f"{name}.request")]
        self.fedloom(
            "provision", self.federation, "--server", "localhost", "--port", self.public_port,
            *requests,
        )  # fmt: skip
        server = self.server / "server.toml"
        change(server, inner_port=self.port, listen="127.0.0.1", port=self.proxy_port)
        for name in names:
            self.fedloom("site", "join", self.site(name), self.kits / f"{name}.kit", "--yes")

    def _begin(self, name: str, *, node_port: int) -> None:
        self.fedloom(
            "site", "init", name, "--name", name, "--records", self.shape.records[name],
            "--model", self.shape.model, "--labels", "negative,positive", "--units", self.units,
        )  # fmt: skip
        change(self.site(name), node={"port": node_port})
        policy = self.site(name).with_name("policy.toml")
        change(policy, budget={"epsilon": 100.0, "delta": _DELTA, "min_noise_multiplier": _NOISE})
        self.fedloom("site", "request", self.site(name))

    def begin_run(self, rounds: int) -> str:
        """Want a run of so many rounds; its name."""
        # Under a new name: a site answers a plan that it knows from what it sealed.
        name = f"bench-{time.time_ns()}"
        change(self.federation, rounds={"total": rounds}, federation={"name": name})
        return self.run()

    def journal(self, run: str) -> Path:
        """Where each of its rounds will have a line."""
        return self.folder(run) / "rounds.jsonl"

    def finish(self, run: str) -> None:
        """Wait for its adapter and report: they are no part of a round."""
        self.wait(lambda: self.state(run) != "wanted", "the run's end")

    def trained(self, since: float) -> dict[int, list[float]]:
        """Seconds from charged to sealed at each site, by round, of what was trained `since`."""
        found: dict[int, list[float]] = {}
        for name in self.shape.records:
            lines = (self.home / name / "link" / "logs" / "trainer.log").read_text().splitlines()
            for number, seconds in stages(lines, since=since).items():
                found.setdefault(number, []).append(seconds)
        return found


def stages(lines: list[str], *, since: float) -> dict[int, float]:
    """Seconds from charged to sealed by round, from a trainer's log since that time."""
    began: dict[int, float] = {}
    found: dict[int, float] = {}
    for line in lines:
        told = json.loads(line) if line.startswith("{") else {}
        at = datetime.fromisoformat(told["time"]).timestamp() if "round" in told else 0.0
        stage = str(told.get("message", "")).rpartition(": ")[2]
        if at >= since and stage == "charged":
            began[told["round"]] = at
        elif at >= since and stage == "sealed":
            found[told["round"]] = at - began[told["round"]]
    return found
