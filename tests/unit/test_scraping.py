"""Metrics are told by one thread, whoever connects."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fedloom.shared import scraping
from fedloom.shared.scraping import serving_metrics
from tests.support.deployed import free_ports


class Counted(Collector):
    """How often it was asked."""

    def __init__(self) -> None:
        self.times = 0

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        self.times += 1
        yield GaugeMetricFamily("asked", "how often", value=self.times)


@pytest.fixture
def port() -> int:
    return free_ports(1)


def scraped(port: int) -> str:
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.text


def is_dropped(peer: socket.socket) -> bool:
    try:
        return peer.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_hundred_silent_connections_cost_no_thread_and_are_in_nobodys_way(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scraping, "_PATIENCE_SECONDS", 60.0)
    with serving_metrics(Counted(), port), ExitStack() as stack:
        assert "asked 1.0" in scraped(port)
        before = threading.active_count()
        where = ("127.0.0.1", port)
        silent = [stack.enter_context(socket.create_connection(where)) for _ in range(100)]
        assert "asked 1.0" in scraped(port)
        assert threading.active_count() == before
        # Of too many, the oldest is dropped before it would be for its silence.
        silent[0].settimeout(30)
        assert is_dropped(silent[0])


def test_the_figures_are_read_once_in_a_while(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Counted()
    with serving_metrics(collector, port):
        for _ in range(20):
            assert "asked 1.0" in scraped(port)
        monkeypatch.setattr(scraping, "_FRESH_SECONDS", 0.0)
    with serving_metrics(collector, port):
        assert "asked 2.0" in scraped(port)
        assert "asked 3.0" in scraped(port)


def test_who_says_nothing_or_too_much_is_dropped(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scraping, "_PATIENCE_SECONDS", 0.2)
    with serving_metrics(Counted(), port):
        for said in (b"", b"GET / HTTP", b"x" * 20_000):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
                peer.sendall(said)
                assert is_dropped(peer)
        assert "asked" in scraped(port)


def test_it_ends_while_somebody_is_connected_and_a_taken_port_is_told(port: int) -> None:
    with (
        serving_metrics(Counted(), port),
        socket.create_connection(("127.0.0.1", port)),
        pytest.raises(OSError, match="in use"),
        serving_metrics(Counted(), port),
    ):
        pass
    assert "metrics" not in {thread.name for thread in threading.enumerate()}
