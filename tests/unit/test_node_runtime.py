"""Who has the node's port on loopback is believed only with the node's own certificate."""

import importlib
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.proto.task_pb2 import Task
from flwr.supercore.constant import TaskType
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.superexec.plugin import AutoExecPlugin
from flwr.supercore.tls import validate_and_resolve_root_certificates
from flwr.supernode.cli.flower_supernode import _parse_supernode_lifespan_config

from fedloom.client.deploy.link_folder import LinkFolder
from fedloom.client.deploy.processes import site_processes
from fedloom.shared.kits.authority import new_pair
from tests.support.kits import a_joined_site, a_signed_kit

_ANSWER = b"HTTP/1.1 503 Not now\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def option(command: Sequence[str], name: str) -> str:
    return command[command.index(name) + 1]


@contextmanager
def listening(certificate: Path, key: Path) -> Iterator[tuple[str, list[bytes]]]:
    """Somebody on a port of loopback: its address, and what was said to it over TLS."""
    heard: list[bytes] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def serve() -> None:
        try:
            with context.wrap_socket(server.accept()[0], server_side=True) as peer:
                heard.append(peer.recv(65536))
                peer.sendall(_ANSWER)
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", heard
        thread.join(10)


def ask(address: str, certificates: str) -> None:
    """For a task to run, as Flower's executor asks."""
    client = RuntimeHttpClient.from_server_address(
        server_address=address,
        insecure=False,
        root_certificates=validate_and_resolve_root_certificates(certificates, False),
        interceptors=[],
    )
    client.AcquireTask(AcquireTaskRequest())


def test_an_impostor_on_the_nodes_port_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the node is down, every user of the machine can have its port, and a task to run."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    site = a_joined_site(tmp_path / "north")
    _, node, relays = site_processes(site)
    known = option(relays.command, "--root-certificates")
    impostor = new_pair("node").service
    for name, content in (("pem", impostor.certificate), ("key", impostor.key)):
        (tmp_path / name).write_bytes(content)
    with (
        listening(tmp_path / "pem", tmp_path / "key") as (address, heard),
        pytest.raises(httpx.ConnectError, match="certificate verify failed"),
    ):
        ask(address, known)
    assert heard == []
    own = (option(node.command, f"--ssl-{end}file") for end in ("cert", "key"))
    with (
        listening(*map(Path, own)) as (address, heard),
        pytest.raises(httpx.HTTPStatusError, match="503"),
    ):
        ask(address, known)
    assert len(heard) == 1 and b"/v1/runtime/acquire-task" in heard[0]


def test_flowers_node_serves_with_the_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, node, relays = site_processes(a_joined_site(tmp_path / "north"))
    command = list(node.command)
    monkeypatch.setattr("sys.argv", command[command.index("supernode") :])
    config = _parse_supernode_lifespan_config()
    link = LinkFolder(tmp_path / "north" / "link")
    assert config.runtime_certificates is not None
    assert config.runtime_ssl_certfile == str(link.runtime_certificate)
    assert config.runtime_ssl_keyfile == str(link.runtime_key)
    assert config.runtime_root_certificates_path == option(relays.command, "--root-certificates")
    for process in (node, relays):
        assert "--insecure" not in process.command


def test_a_relay_gets_the_certificate_from_who_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = importlib.import_module("flwr.supercore.superexec.executor.subprocess_executor")
    ran: list[list[str]] = []
    monkeypatch.setattr(executor, "subprocess", SimpleNamespace(Popen=ran.append))
    plugin = AutoExecPlugin(
        runtime_api_address="127.0.0.1:1",
        insecure=False,
        root_certificates_path="/link/runtime-ca.pem",
        runtime_dependency_install=False,
        executor=executor.SubprocessExecutor(),
    )
    plugin.launch_task(token="t", task=Task(task_id=1, type=TaskType.CLIENT_APP))
    assert ran[0][0] == "flwr-clientapp"
    assert option(ran[0], "--root-certificates") == "/link/runtime-ca.pem"
    assert "--insecure" not in ran[0]


def test_the_pair_and_the_secret_are_made_once_and_the_nodes_alone(tmp_path: Path) -> None:
    link = LinkFolder.of(a_joined_site(tmp_path / "north"))
    files = (link.runtime_authority, link.runtime_certificate, *link.private)
    before = [path.read_bytes() for path in files]
    assert len(link.node_secret.read_bytes()) == 64
    link.keep(a_signed_kit(link.kit_file))
    assert [path.read_bytes() for path in files] == before
    for path in link.private:
        assert path.stat().st_mode & 0o777 == 0o600
    # Who could sign another certificate is gone.
    keys = [path for path in link.path.rglob("*") if b"PRIVATE KEY" in _content(path)]
    assert set(keys) == {link.node_key, link.runtime_key}


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
