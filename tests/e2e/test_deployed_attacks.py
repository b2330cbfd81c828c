"""What outsiders and insiders try at a deployment: each is refused, and status says so."""

import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from flwr.cli.build import build_fab_from_files
from flwr.common.serde import user_config_to_proto
from flwr.proto.control_pb2 import StartRunRequest
from flwr.proto.fab_pb2 import Fab

from fedloom.client.deploy.link_folder import LinkFolder
from fedloom.client.deploy.processes import site_processes
from fedloom.client.rpc.address import read_address
from fedloom.client.rpc.remote import RemoteSite
from fedloom.client.rpc.serving import serving
from fedloom.server.deploy import bundle
from fedloom.server.deploy.control import flower_control
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.wanted import change_wanted
from fedloom.server.run.journal import Journal
from fedloom.shared.kits.authority import new_authority
from fedloom.shared.kits.document import SignedKit
from fedloom.shared.kits.node_key import NodeKey
from fedloom.shared.supervising import Process
from tests.support.deployed import SITES, Deployment, change, deployment
from tests.support.middle import Middle

pytestmark = pytest.mark.slow
ROUNDS = 3


class Attacked:
    """A server that is up with two honest sites, and a third with a man in its middle."""

    def __init__(self, deployed: Deployment) -> None:
        self.deployed = deployed
        self.home = ServerHome(deployed.server)
        self.settings = self.home.settings()
        self.started: list[subprocess.Popen[bytes]] = []

    @property
    def status(self) -> str:
        return self.deployed.fedloom("server", "status", "--kit", self.deployed.server)

    def post(self, path: str, *, port: int | None = None) -> int:
        url = f"https://localhost:{port or self.settings.port}{path}"
        context = ssl.create_default_context(cafile=str(self.home.authority))
        headers = {"content-type": "application/protobuf"}
        return httpx.post(url, content=b"", headers=headers, verify=context).status_code

    def post_raw(self, path: str) -> int:
        """The path as it is written: a client would make `..` plain before it sends it."""
        context = ssl.create_default_context(cafile=str(self.home.authority))
        where = ("localhost", self.settings.port)
        words = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        with (
            socket.create_connection(where, timeout=30) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as link,
        ):
            link.sendall(words.encode())
            return int(link.recv(100).split()[1])

    def refused(self, why: str) -> int:
        """How many requests the status page counts that were turned away for that."""
        found = re.search(rf"refused +(\d+) requests? from 127\.0\.0\.1: {why}", self.status)
        return int(found[1]) if found else 0

    def start(self, process: Process) -> "subprocess.Popen[bytes]":
        log = (self.deployed.home / f"{process.name}.attack").open("ab")
        environment = {**os.environ, **process.whole_environment}
        started = subprocess.Popen(process.command, stdout=log, stderr=log, env=environment)
        self.started.append(started)
        return started

    def said(self, process: str) -> str:
        return (self.deployed.home / f"{process}.attack").read_text(errors="replace")

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait(30)


@pytest.fixture(scope="module")
def attacked() -> Iterator[Attacked]:
    with deployment(rounds=ROUNDS, rounds_more="quorum = 2") as deployed:
        deployed.up("server")
        for site in SITES[:2]:
            deployed.up(site)
        with closing(_Ending(Attacked(deployed))) as ending:
            up = "superlink up, proxy up, keeper up"
            deployed.wait(lambda: up in ending.attacked.status, "the server")
            yield ending.attacked


class _Ending:
    def __init__(self, attacked: Attacked) -> None:
        self.attacked = attacked

    def close(self) -> None:
        self.attacked.end()


def node_process(settings: Path, name: str, key: Path | None = None) -> Process:
    """A site's node by itself, with another key if one is given."""
    node = site_processes(settings)[1]
    command = list(node.command)
    if key is not None:
        command[command.index("--auth-supernode-private-key") + 1] = str(key)
    return Process(name=name, command=command, environment=node.environment)


def test_old_and_altered_updates_do_not_count(attacked: Attacked) -> None:
    """Between node and trainer, or at Flower's server: an answer is for one question alone."""
    deployed = attacked.deployed
    real = deployed.site("site2")
    trainer, _, _ = site_processes(real)
    attacked.start(trainer)
    false = real.with_name("false.toml")
    false.write_bytes(real.read_bytes())
    change(false, service={"address": "unix:false.sock"})
    true_address = read_address(f"unix:{real.with_name('trainer.sock')}", None, side="relay")
    deployed.wait(lambda: real.with_name("trainer.sock").exists(), "the trainer")
    address = read_address(f"unix:{real.with_name('false.sock')}", None, side="service")
    with serving(Middle(RemoteSite(true_address)), address):
        for process in site_processes(false)[1:]:
            attacked.start(process)
        deployed.wait(lambda: attacked.status.count(": online") == 3, "three nodes")
        name = deployed.run()
        deployed.wait(lambda: deployed.state(name) != "wanted", "the run's end")
    entries = Journal(deployed.folder(name) / "rounds.jsonl").entries()
    faults = [entry.sites[2].fault for entry in entries]
    assert [entry.accepted for entry in entries] == [3, 2, 2]
    assert faults == [None, *["rejected: without the site's signature for this task"] * 2]
    assert "site site2: rejected: without the site's signature" in attacked.status


def test_control_and_runtime_are_closed_to_the_outside(attacked: Attacked) -> None:
    paths = (
        "/v1/control/list-nodes",
        "/v1/control/start-run",
        "/v1/runtime/acquire-task",
        "/v1/fleet/register-node",
        "/v1/fleet/../control/list-nodes",
        "/v1/fleet/%2e%2e/control/list-nodes",
        "//v1/fleet/pull-messages",
        "/health",
        "/docs",
    )
    assert {path: attacked.post_raw(path) for path in paths} == dict.fromkeys(paths, 404)
    assert "from 127.0.0.1: not open to the outside; last /docs at" in attacked.status


def test_control_asks_for_the_token_on_loopback_too(attacked: Attacked) -> None:
    """Every user of the machine reaches loopback."""
    port = attacked.settings.superlink_port
    assert attacked.post("/v1/control/list-nodes", port=port) == 401
    assert attacked.post("/v1/runtime/acquire-task", port=port) == 401
    with flower_control(attacked.home) as control:
        assert len(control.nodes()) == 3


def test_without_tls_nobody_speaks(attacked: Attacked) -> None:
    url = f"http://localhost:{attacked.settings.port}/v1/fleet/pull-messages"
    assert httpx.post(url).status_code == 400
    assert "no TLS, or no request" in attacked.status


def test_a_server_of_another_authority_is_not_believed(attacked: Attacked) -> None:
    """A site whose kit names another authority: its node never connects, and doctor says why."""
    deployed, name = attacked.deployed, SITES[1]
    settings, said_by = deployed.site(name), "of-another-authority"
    link = LinkFolder.of(settings)
    before = {path: path.read_bytes() for path in (link.authority, link.kit_file)}
    other = new_authority("other").certificate.decode()
    deployed.wait(lambda: f"{name}: online" in attacked.status, "the node")
    deployed.down(name)
    deployed.wait(lambda: f"{name}: OFFLINE" in attacked.status, "the node's end")
    try:
        kit = link.kit().model_copy(update={"authority": other})
        link.keep(SignedKit.by(kit, attacked.home.coordinator()))
        node = attacked.start(node_process(settings, said_by))
        # It says no more than that, and waits; why it is so, doctor finds out.
        deployed.wait(lambda: "server: cannot be reached" in attacked.said(said_by), "its refusal")
        with pytest.raises(subprocess.TimeoutExpired):
            node.wait(5)
        node.kill()
        node.wait(30)
        assert f"{name}: OFFLINE" in attacked.status
        said = deployed.fedloom("doctor", settings, ok=False)
        assert "its certificate is not believed" in said
    finally:
        for path, content in before.items():
            path.write_bytes(content)
        deployed.up(name)
        deployed.wait(lambda: f"{name}: online" in attacked.status, "the node again")


@pytest.mark.parametrize("whose", ["nobody's", "another federation's"])
def test_a_node_that_was_not_registered_here_is_turned_away(
    attacked: Attacked, tmp_path: Path, whose: str
) -> None:
    # All but the key is a true site's: without, the node would not so much as ask.
    link = LinkFolder.of(attacked.deployed.site("site1"))
    key = tmp_path / "link" / link.node_key.name
    key.parent.mkdir()
    for path in (link.kit_file, link.authority):
        shutil.copy(path, key.parent)
    (key.parent / "flower").mkdir()
    if whose == "nobody's":
        key.write_bytes(NodeKey.generate().to_openssh())
    else:
        key.write_bytes(_another_federations_key(attacked.deployed, tmp_path))
    key.chmod(0o600)
    name = f"stranger-{whose.split(maxsplit=1)[0]}"
    process = node_process(attacked.deployed.site("site1"), name, key)
    command = list(process.command)
    command[command.index("--port") + 1] = str(attacked.deployed.port + 6)
    at = command.index("--health-server-address")
    del command[at : at + 2]
    why = "no registered node's key"
    before = attacked.refused(why)
    stranger = attacked.start(Process(name=name, command=command))
    assert stranger.wait(60) != 0
    assert attacked.refused(why) > before, attacked.said(name)
    with flower_control(attacked.home) as control:
        assert len(control.nodes()) == 3


def _another_federations_key(deployed: Deployment, folder: Path) -> bytes:
    """The key of a site of the same name, with a kit of another federation."""
    settings = folder / "site1" / "site.toml"
    original = deployed.site("site1").read_text()
    settings.parent.mkdir()
    settings.write_text(original.partition("[coordinator]")[0])
    deployed.fedloom(
        "provision", deployed.federation, "--server", "localhost", "--site", "site1",
        "--out", folder / "kits",
    )  # fmt: skip
    (settings.parent / "state").mkdir()
    (settings.parent / "state").chmod(0o700)
    deployed.fedloom(
        "site", "join", settings, folder / "kits" / "site1.kit", "--yes",
        "--passphrase-file", folder / "kits" / "site1.passphrase",
    )  # fmt: skip
    return LinkFolder.of(settings).node_key.read_bytes()


def test_a_kit_is_opened_by_its_own_site_alone(attacked: Attacked, tmp_path: Path) -> None:
    deployed = attacked.deployed
    said = deployed.fedloom(
        "site", "join", deployed.site("site0"), deployed.kits / "site1.kit", "--yes",
        "--passphrase-file", deployed.kits / "site1.passphrase", ok=False,
    )  # fmt: skip
    assert "the kit of site site1, expected site0's" in said
    settings = tmp_path / "site1" / "site.toml"
    settings.parent.mkdir()
    settings.write_bytes(deployed.site("site1").read_bytes())
    (settings.parent / "state").mkdir()
    for kit, phrase, words in (
        ("site1.kit", "site2.passphrase", "the passphrase does not open it"),
        ("site1.kit", None, "expected --passphrase-file"),
    ):
        more = [] if phrase is None else ["--passphrase-file", deployed.kits / phrase]
        said = deployed.fedloom(
            "site", "join", settings, deployed.kits / kit, "--yes", *more, ok=False
        )
        assert words in said
    assert not LinkFolder.of(settings).node_key.exists()


def test_an_unsigned_bundle_is_run_by_no_node(attacked: Attacked) -> None:
    """Whoever has the control token, or the machine, still has not the coordinator's key."""
    with _keeper_stopped(attacked.deployed):
        name = attacked.deployed.run()
        _start_unsigned(attacked, name, _plan_of(attacked, name))
        events = attacked.deployed.folder(name) / "events.jsonl"
        attacked.deployed.wait(
            lambda: events.exists() and '"failed"' in events.read_text(), "its failure"
        )
    told = events.read_text()
    assert told.count("refuses the bundle: not signed by the coordinator") >= 2
    assert "its node refuses the bundle" in attacked.status
    attacked.deployed.fedloom("server", "stop", name, "--kit", attacked.deployed.server)


def test_a_changed_run_configuration_trains_nothing(attacked: Attacked) -> None:
    """Flower signs no configuration: here it may name a run and must know its plan's hash."""
    with _keeper_stopped(attacked.deployed):
        name = attacked.deployed.run()
        # At its end: a Flower run of one that was stopped, the keeper would end by itself.
        change_wanted(attacked.home.run(name), state="finished")
    app = bundle.signed_bundle(attacked.home.coordinator(), now=0).app
    with flower_control(attacked.home) as control:
        number = control.start(app, name, "00" * 32)
        attacked.deployed.wait(lambda: control.run(number).ended, "its end")  # type: ignore[union-attr]
        assert control.run(number).outcome == "failed"  # type: ignore[union-attr]
    assert not (attacked.deployed.folder(name) / "rounds.jsonl").exists()
    assert "started or changed by somebody else" in attacked.status


class _keeper_stopped:  # noqa: N801
    """The keeper holds still, so that it is not its own run that is seen; its hub answers not."""

    def __init__(self, deployed: Deployment) -> None:
        (self._pid,) = deployed.pids("server", "fedloom.server.deploy.keep")

    def __enter__(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGCONT)


def _plan_of(attacked: Attacked, name: str) -> str:
    return attacked.home.run(name).read_plan().sha256


def _start_unsigned(attacked: Attacked, name: str, plan: str) -> None:
    text = bundle._pyproject("0.0.1").encode()
    content = build_fab_from_files({"pyproject.toml": text})[0]
    fab = Fab(hash_str=hashlib.sha256(content).hexdigest(), content=content)
    config = user_config_to_proto({bundle.RUN: name, bundle.PLAN: plan})
    with flower_control(attacked.home) as control:
        control._client.StartRun(StartRunRequest(fab=fab, override_config=config))
