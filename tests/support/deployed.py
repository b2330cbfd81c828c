"""A whole deployment on loopback, as its people would start it: by the command line alone."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import tomli_w

from tests.support.served import short_folder
from tests.support.tiny import sentences, write_csv, write_federation

SITES = ("site0", "site1", "site2")
UNITS = 90
SEEDED = "noise_multiplier = 0.8\ndelta = 1e-4\nnoise_seed = 7"


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody has."""
    for base in range(20_000 + os.getpid() % 10_000, 60_000, count):
        try:
            held = [socket.create_server(("127.0.0.1", base + at)) for at in range(count)]
        except OSError:
            continue
        for one in held:
            one.close()
        return base
    raise RuntimeError("no ports are free")


@dataclass
class Deployment:
    """One federation in one folder; processes by the name of their party."""

    home: Path
    federation: Path
    port: int
    # Where the server listens, and what stands before a party's command: another network, say.
    host: str = "localhost"
    listen: str = "127.0.0.1"
    within: dict[str, list[str]] = field(default_factory=dict)
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def kits(self) -> Path:
        return self.home / "kits"

    @property
    def server(self) -> Path:
        return self.kits / "server"

    def site(self, name: str) -> Path:
        return self.home / name / "site.toml"

    def fedloom(self, *words: object, ok: bool = True, timeout: float = 120) -> str:
        """A command to its end; what it said."""
        command = [sys.executable, "-m", "fedloom.cli", *map(str, words)]
        done = subprocess.run(
            command, cwd=self.home, capture_output=True, text=True, timeout=timeout, check=False
        )
        if ok and done.returncode != 0:
            raise AssertionError(f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def prepare(self) -> None:
        """Provision, begin three sites, and let them join: one made its own keys, two did not."""
        for name in SITES:
            self._init(name, node_port=self.node_port(name))
        self.fedloom("site", "request", self.site("site0"))
        self.fedloom(
            "provision", self.federation, "--server", self.host, "--port", self.port + 7,
            "--request", "site0.request", "--site", "site1", "--site", "site2",
        )  # fmt: skip
        change(self.server / "server.toml", inner_port=self.port, listen=self.listen)
        for name in SITES:
            phrase = self.kits / f"{name}.passphrase"
            more = ["--passphrase-file", phrase] if phrase.exists() else []
            self.fedloom("site", "join", self.site(name), self.kits / f"{name}.kit", "--yes", *more)

    def _init(self, name: str, *, node_port: int) -> None:
        self.fedloom(
            "site", "init", name, "--name", name, "--records", f"{name}.csv", "--model", "model",
            "--labels", "negative,positive", "--units", UNITS,
        )  # fmt: skip
        change(self.site(name), node={"port": node_port})
        change(
            self.site(name).with_name("policy.toml"),
            budget={"epsilon": 100.0, "delta": 1e-4, "min_noise_multiplier": 0.5, "min_units": 10},
            limits={"max_rounds": 100, "max_rounds_in_all": 1000},
            allow={"seeded_noise": True},
        )

    def up(self, party: str) -> None:
        """Bring a party up; its supervisor is a process of ours."""
        where = self.server if party == "server" else self.site(party)
        command = [*self.within.get(party, ()), sys.executable, "-m", "fedloom.cli"]
        command += ["server" if party == "server" else "site", "up", str(where)]
        log = (self.home / f"{party}.out").open("ab")
        self.processes[party] = subprocess.Popen(
            command,
            cwd=self.home,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def down(self, party: str) -> None:
        """End a party as a person would."""
        process = self.processes.pop(party)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            _end_group(process)

    def kill(self, party: str) -> None:
        """End a party as a power cut would: all of its processes at once."""
        _end_group(self.processes.pop(party))

    def pids(self, party: str, what: str) -> list[int]:
        """Processes of a party whose command line has `what` in it."""
        return [each.pid for each in _session(self.processes[party]) if what in _command(each)]

    def commands(self) -> list[str]:
        """The command lines of all processes of all parties."""
        return [_command(each) for party in self.processes.values() for each in _session(party)]

    def node_port(self, site: str) -> int:
        """The first of a site's own ports."""
        return self.port + 8 + 3 * SITES.index(site)

    def logs_of(self, party: str) -> Path:
        """The folder of what a party's processes said."""
        if party == "server":
            return self.server / "logs"
        return self.home / party / "state" / "supervisor" / "logs"

    def logs(self, party: str) -> str:
        """All that a party's processes said."""
        return "\n".join(
            f"== {path.name}\n{path.read_text(errors='replace')}"
            for path in sorted(self.logs_of(party).glob("*.log*"))
        )

    def run(self) -> str:
        """Want a run; its name."""
        said = self.fedloom("server", "run", self.federation, "--kit", self.server, "--no-follow")
        found = re.search(r"^run (\S+), in", said, re.MULTILINE)
        assert found is not None, said
        return found[1]

    def folder(self, name: str) -> Path:
        return self.server / "runs" / name

    def state(self, name: str) -> str:
        return re.search(r'"state": *"([a-z-]+)"', (self.folder(name) / "wanted.json").read_text())[
            1
        ]  # type: ignore[index]

    def rounds(self, name: str) -> int:
        journal = self.folder(name) / "rounds.jsonl"
        return len(journal.read_bytes().splitlines()) if journal.exists() else 0

    def wait(self, what: Callable[[], bool], why: str, seconds: float = 180) -> float:
        """Until it is so; how long it took."""
        began = time.monotonic()
        while not what():
            if time.monotonic() - began > seconds:
                raise AssertionError(f"waited {seconds:.0f} s: {why}\n{self.everything()}")
            time.sleep(0.2)
        return time.monotonic() - began

    def everything(self) -> str:
        """What all parties said, for a test that failed."""
        return "\n".join(f"#### {name}\n{self.logs(name)[-6000:]}" for name in self.processes)

    def end(self) -> None:
        for party in list(self.processes):
            self.down(party)


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    for each in _session(process):
        with suppress(psutil.NoSuchProcess):
            each.kill()


def _session(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """All that the process started, children that it lost included."""
    found = []
    for each in psutil.process_iter():
        with suppress(ProcessLookupError):
            if os.getsid(each.pid) == process.pid:
                found.append(each)
    return found


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@contextmanager
def deployment(
    *, rounds: int = 3, privacy: str = SEEDED, rounds_more: str = ""
) -> Iterator[Deployment]:
    """Three sites that have joined, and nothing up yet."""
    with short_folder() as home:
        federation = write_federation(home, rounds=rounds, privacy=privacy, rounds_more=rounds_more)
        declare_units(federation)
        audit(federation)
        deployed = Deployment(home=home, federation=federation, port=free_ports(17))
        deployed.prepare()
        try:
            yield deployed
        finally:
            deployed.end()


def declare_units(federation: Path) -> None:
    """Write down each site's public size, as a coordinator who sees no records must."""
    tree = tomllib.loads(federation.read_text())
    for site in tree["data"]["sites"]:
        site["declared_units"] = UNITS
    federation.write_text(tomli_w.dumps(tree))


def audit(federation: Path) -> None:
    """A suite on records that the coordinator has of its own."""
    write_csv(federation.parent / "own.csv", sentences(40, seed=9))
    suite = '[suite]\nname = "own"\n[records]\npath = "own.csv"\n[audits.validation]\n'
    (federation.parent / "suite.toml").write_text(suite, encoding="utf-8")
    change(federation, evaluation={"suite": "suite.toml"})


def another_plan(federation: Path, *, seed: int, name: str) -> None:
    """Change noise and name: a site would answer a plan that it knows from what it sealed."""
    change(federation, privacy={"noise_seed": seed}, federation={"name": name})


def change(path: Path, **wanted: object) -> None:
    """Change keys and sections of a TOML file."""
    tree = tomllib.loads(path.read_text())
    for name, value in wanted.items():
        if isinstance(value, dict):
            tree.setdefault(name, {}).update(value)
        else:
            tree[name] = value
    path.write_text(tomli_w.dumps(tree))
