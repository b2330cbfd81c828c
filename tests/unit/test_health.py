"""What a process says of itself, and what a port says at which nobody is, or somebody else."""

import socket

import pytest

from fedloom.shared.health import is_healthy, serving_health
from tests.support.deployed import free_ports


def test_it_is_well_only_while_it_says_so() -> None:
    port = free_ports(1)
    target = f"127.0.0.1:{port}"
    assert not is_healthy(target)
    with serving_health(port) as health:
        assert not is_healthy(target), "before the first look all may be wrong"
        health.set(serving=True)
        assert is_healthy(target)
        health.set(serving=False)
        assert not is_healthy(target)
    assert not is_healthy(target)


def test_two_cannot_answer_for_each_other() -> None:
    port = free_ports(1)
    with serving_health(port), pytest.raises(RuntimeError), serving_health(port):
        pass


def test_something_else_on_the_port_is_not_well() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert not is_healthy(f"127.0.0.1:{other.getsockname()[1]}")


def test_loopback_is_not_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    port = free_ports(1)
    with serving_health(port) as health:
        health.set(serving=True)
        assert is_healthy(f"127.0.0.1:{port}")
