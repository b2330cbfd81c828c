"""The real nginx under a flood: its log stays short, and nodes are never in the way."""

import http.client
import json
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fedloom.server.deploy import proxy
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.processes import make_home, server_processes
from fedloom.server.deploy.proxy import access_log, older_log
from fedloom.server.deploy.rotating import rotate, rotating
from tests.support.deployed import free_ports
from tests.unit.test_proxy_config import NGINX, a_home

pytestmark = pytest.mark.skipif(NGINX is None, reason="no nginx here")
NODES = "/v1/fleet/pull-messages"


class Flower(BaseHTTPRequestHandler):
    """Flower's server, which is content with all."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@dataclass
class Door:
    home: ServerHome
    process: "subprocess.Popen[bytes]"
    said: Path

    def ask(self, *asked: tuple[str, str]) -> list[int]:
        """The status of each request, over as few connections as may be."""
        context = ssl.create_default_context(cafile=str(self.home.authority))
        port = self.home.settings().port
        link = http.client.HTTPSConnection("localhost", port, timeout=20, context=context)
        found = []
        for method, path in asked:
            link.request(method, path)
            answer = link.getresponse()
            answer.read()
            found.append(answer.status)
        link.close()
        return found

    def lines(self, count: int) -> list[dict[str, object]]:
        """Written after the answer is sent."""
        until(lambda: len(access_log(self.home).read_bytes().splitlines()) == count)
        return [json.loads(line) for line in access_log(self.home).read_bytes().splitlines()]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    port = free_ports(10)
    home = a_home(tmp_path / "server", port=port, inner_port=port + 1)
    make_home(home)
    upstream = ThreadingHTTPServer(("127.0.0.1", port + 1), Flower)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home.certificate, home.certificate_key)
    upstream.socket = context.wrap_socket(upstream.socket, server_side=True)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    # As `launch.proxy` does, in this process: some tests lower its limits.
    *_, nginx, _ = next(p for p in server_processes(home) if p.name == "proxy").command
    config = home.proxy / "nginx.conf"
    config.write_text(proxy.nginx_config(home, home.settings()))
    command = [nginx, "-p", str(home.proxy), "-e", "stderr", "-c", str(config)]
    said = tmp_path / "said"
    with said.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    found = Door(home, process, said)
    until(lambda: access_log(home).is_file())
    yield found
    process.send_signal(signal.SIGTERM)
    process.wait(10)
    upstream.shutdown()
    upstream.server_close()


def until(what: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_long_path_is_a_short_line(door: Door) -> None:
    assert door.ask(("GET", "/" + "x" * 7000), ("A" * 5000, "/y")) == [404, 404]
    first, second = door.lines(2)
    assert first["path"] == "/" + "x" * 99
    assert (second["method"], second["path"]) == ("A" * 10, "/y")


def test_what_nodes_ask_is_not_written_down_and_never_refused(door: Door) -> None:
    """A burst as of an update of 5 GB that is sent at once, from one address."""
    assert set(door.ask(*[("POST", NODES)] * 1000)) == {200}
    assert access_log(door.home).read_bytes() == b""


@pytest.mark.parametrize("asked", [("GET", "/"), ("GET", NODES), ("POST", "/v1/control/start-run")])
def test_a_flood_is_refused_and_hardly_written_down(door: Door, asked: tuple[str, str]) -> None:
    found = door.ask(*[asked] * 600)
    assert set(found) == {404, 503}, "a node tries again after 503"
    assert found.count(404) < 100
    assert len(access_log(door.home).read_bytes().splitlines()) < 100
    assert door.said.read_bytes() == b"", "nor in the process's own log"
    assert door.ask(("POST", NODES)) == [200]


@pytest.fixture
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test reaches, in the place of those that it must not."""
    monkeypatch.setattr(proxy, "_NODES", "rate=5r/s")
    monkeypatch.setattr(proxy, "_NODES_AT_ONCE", 20)


def test_a_flood_of_what_nodes_may_ask_is_refused_too(low: None, door: Door) -> None:
    found = door.ask(*[("POST", NODES)] * 600)
    assert set(found) == {200, 503}
    assert found.count(200) < 100
    assert len(access_log(door.home).read_bytes().splitlines()) < 60
    assert door.said.read_bytes() == b"", "nor in the process's own log"


def test_a_log_that_is_too_long_is_put_aside_and_one_older_is_kept(door: Door) -> None:
    log, older = access_log(door.home), older_log(door.home)
    for name in ("/first", "/second"):
        assert door.ask(("GET", name)) == [404]
        assert [line["path"] for line in door.lines(1)] == [name]
        size = log.stat().st_size
        rotate(door.home, most_bytes=size)
        assert log.stat().st_size == size
        rotate(door.home, most_bytes=size - 1)
        assert log.read_bytes() == b""
        assert name in older.read_text()
    assert "first" not in older.read_text()
    assert door.ask(("GET", "/third")) == [404]
    assert [line["path"] for line in door.lines(1)] == ["/third"], "nginx goes on at its beginning"


def test_of_a_log_far_too_long_only_the_end_is_kept(tmp_path: Path) -> None:
    home = a_home(tmp_path / "server")
    rotate(home)
    home.logs.mkdir()
    access_log(home).write_bytes(b"old" * 1000 + b"new")
    rotate(home, most_bytes=3)
    assert older_log(home).read_bytes() == b"new"


def test_the_keeper_looks_after_it(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedloom.server.deploy.rotating._LOOK_SECONDS", 0.05)
    log = access_log(door.home)
    with log.open("ab") as file:
        file.truncate(20_000_001)
    with rotating(door.home):
        until(lambda: log.stat().st_size == 0)
