"""A node that comes back, and a server that is away or has another clock."""

import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from fedloom.client.deploy import returning
from fedloom.client.deploy.link_folder import LinkFolder
from fedloom.client.deploy.returning import clocks_apart, folder_of, hold_node, take_over
from fedloom.shared.errors import CredentialError, DeployError


def answers(status: int) -> Exception:
    request = httpx.Request("POST", "https://server/v1/fleet/deactivate-node")
    return httpx.HTTPStatusError("", request=request, response=httpx.Response(status))


class Server:
    """What it says each time; None: done as asked."""

    def __init__(self, *said: Exception | None) -> None:
        self.said = list(said)
        self.ended: list[int] = []

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None: ...

    def DeactivateNode(self, request: object) -> None:  # noqa: N802
        found = self.said.pop(0)
        if found is not None:
            raise found
        self.ended.append(request.node_id)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("said", "waits"),
    [
        ([None], 0),
        ([answers(400)], 0),
        ([answers(502), httpx.ConnectError("no"), answers(504), None], 3),
        ([answers(401)], 0),
    ],
)
def test_a_server_that_is_away_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[Exception | None], waits: int
) -> None:
    link, server, slept = LinkFolder(tmp_path), Server(*said), []
    link.flower.mkdir()
    link.node_number.write_text("17")
    monkeypatch.setattr(returning, "_client", lambda *_: server)
    take_over(link, sleep=slept.append)
    assert len(slept) == waits
    assert server.said == []
    assert server.ended == ([17] if said[-1] is None else [])


def test_the_same_trouble_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(*[answers(502)] * 9, *[httpx.ConnectError("no")] * 3, None)
    monkeypatch.setattr(returning, "_client", lambda *_: server)
    with caplog.at_level(logging.WARNING, logger="fedloom.node"):
        take_over(LinkFolder(tmp_path), sleep=lambda _: None)
    assert [line.split(";")[0] for line in caplog.messages] == [
        "server: Flower's server is away",
        "server: cannot be reached (ConnectError)",
    ]


def test_a_clock_that_is_wrong_is_told_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Flower says of it that the node's signature is wrong."""
    server, apart = Server(answers(401), answers(401), answers(401)), [-600.0, -600.0, 0.0]

    def client(_: LinkFolder, clock: returning._Clock) -> Server:
        clock.apart = apart.pop(0)
        return server

    monkeypatch.setattr(returning, "_client", client)
    with caplog.at_level(logging.WARNING, logger="fedloom.node"):
        take_over(LinkFolder(tmp_path), sleep=lambda _: None)
    assert apart == []
    (said,) = caplog.messages
    assert "about 10 minutes behind the server's" in said


def test_one_folder_has_one_node(tmp_path: Path) -> None:
    LinkFolder(tmp_path).flower.mkdir()
    hold_node(LinkFolder(tmp_path))
    with pytest.raises(DeployError, match="another node"):
        hold_node(LinkFolder(tmp_path))


def test_clocks_that_are_apart() -> None:
    then = datetime.now(UTC) - timedelta(minutes=10)
    assert 599 <= clocks_apart(format_datetime(then, usegmt=True)) <= 602
    for nothing in (None, "", "yesterday"):
        assert clocks_apart(nothing) == 0.0


def test_a_folder_without_a_kit_is_told(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="no kit"):
        folder_of(str(tmp_path / "node.key"))
