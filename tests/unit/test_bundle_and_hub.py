"""The bundle that nodes are told to run, and the only place that hands it out."""

import http.client
import io
import json
import logging
import socket
import time
import tomllib
import zipfile
from collections.abc import Iterator

import pytest
from flwr.supercore.fab import Fab
from flwr.supercore.utils import request_download_link
from flwr.superlink.servicer.control.control_handlers import _format_verification
from flwr.supernode.start_client_internal import _verify_fab

from fedloom.server.deploy.bundle import Bundle, signed_bundle
from fedloom.server.deploy.hub import serving_bundle
from fedloom.shared.keys import SigningKey
from fedloom.shared.kits.trusted import key_id, openssh_key
from tests.support.deployed import free_ports

KEY, OTHER = SigningKey.generate(), SigningKey.generate()
NOW = 1_700_000_000
BUNDLE = signed_bundle(KEY, now=NOW)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    number = free_ports(1)
    with serving_bundle(BUNDLE, number):
        yield number


def a_fab(bundle: Bundle, content: bytes | None = None) -> Fab:
    import hashlib

    content = bundle.content if content is None else content
    found = _format_verification([json.loads(bundle.verification)])
    return Fab(hashlib.sha256(content).hexdigest(), content, found)


def trusted(key: SigningKey) -> dict[str, str]:
    return {key_id(key.public): openssh_key(key.public)}


def test_flowers_nodes_take_the_coordinators_bundle_and_no_other() -> None:
    assert _verify_fab(a_fab(BUNDLE), trusted(KEY))
    assert not _verify_fab(a_fab(BUNDLE), trusted(OTHER))
    assert not _verify_fab(a_fab(BUNDLE, BUNDLE.content + b"0"), trusted(KEY))
    # The other's key under the coordinator's name.
    assert not _verify_fab(a_fab(BUNDLE), {key_id(KEY.public): openssh_key(OTHER.public)})
    later = json.loads(BUNDLE.verification) | {"signed_at": NOW + 1}
    moved = Bundle(version="1", content=BUNDLE.content, verification=json.dumps(later))
    assert not _verify_fab(a_fab(moved), trusted(KEY))


def test_there_is_no_code_in_it() -> None:
    with zipfile.ZipFile(io.BytesIO(BUNDLE.content)) as archive:
        names = [name for name in archive.namelist() if not name.startswith(".info/")]
        assert names == ["pyproject.toml"]
        tree = tomllib.loads(archive.read("pyproject.toml").decode())
    assert tree["project"]["dependencies"] == []
    app = tree["tool"]["flwr"]["app"]
    assert set(app["components"]) == {"serverapp", "clientapp"}
    assert all(value.startswith("fedloom.") for value in app["components"].values())
    assert app["config"] == {"run": "", "plan": ""}


def test_it_is_the_same_each_time() -> None:
    """Its hash is in Flower's state: another one with each start would be another app."""
    again = signed_bundle(KEY, now=NOW + 5)
    assert again.content == BUNDLE.content
    assert again.app == BUNDLE.app
    assert signed_bundle(KEY, now=NOW) == BUNDLE


def test_flower_finds_it_at_the_hub_and_verifies_what_it_fetched(port: int) -> None:
    app, _, version = BUNDLE.app.partition("==")
    url, verifications, _ = request_download_link(
        app, version, f"http://127.0.0.1:{port}/v1/hub/fetch-fab", "fab_url"
    )
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", url.split(str(port), 1)[1])
    content = connection.getresponse().read()
    assert content == BUNDLE.content
    assert verifications is not None
    found = Fab("", content, _format_verification(verifications))
    assert _verify_fab(a_fab(BUNDLE, found.content), trusted(KEY))


RIGHT = {"app_id": "@fedloom/federation", "app_version": BUNDLE.version}


def ask(port: int, body: bytes, *, path: str = "/v1/hub/fetch-fab", length: str = "") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", length or str(len(body)))
    connection.endheaders(body)
    return connection.getresponse().status


@pytest.mark.parametrize(
    "body",
    [
        RIGHT | {"app_id": "@fedloom/federation2"}, RIGHT | {"app_id": "@other/federation"},
        RIGHT | {"app_id": "fedloom/federation"}, RIGHT | {"app_version": None},
        RIGHT | {"app_version": f"{BUNDLE.version}.1"}, RIGHT | {"app_version": [BUNDLE.version]},
        {"app_id": RIGHT["app_id"]}, [RIGHT], "x", None, {},
    ],
)  # fmt: skip
def test_the_hub_answers_for_no_other_app(port: int, body: object) -> None:
    assert ask(port, json.dumps(body).encode()) == 404
    assert ask(port, json.dumps(RIGHT | {"flwr_version": "1.41.0"}).encode()) == 200


@pytest.mark.parametrize("path", ["/", "/bundle", "/v1/hub/fetch-fab/", "/v1/hub/fetch-fab?x=1"])
def test_the_hub_answers_at_no_other_path(port: int, path: str) -> None:
    assert ask(port, json.dumps(RIGHT).encode(), path=path) == 404


@pytest.mark.parametrize(
    ("body", "length"),
    [
        (b"", "-5"), (b"", "many"), (b"x", "1"), (b"\xff\xfe", ""), (b"", "9" * 30), (b"", "²"),
        (b"[" * 60_000, ""),
    ],
)  # fmt: skip
def test_garbage_is_answered_at_once_and_without_a_traceback(
    port: int, body: bytes, length: str, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    assert ask(port, body, length=length.encode("latin-1").decode("latin-1")) == 404
    assert time.monotonic() - began < 3
    assert "Traceback" not in capsys.readouterr().err


def test_others_are_answered_while_one_says_nothing(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)):
        assert ask(port, json.dumps(RIGHT).encode()) == 200
    assert logging.getLogger("fedloom").disabled is False


def test_the_hub_is_on_loopback_alone_and_gone_afterwards() -> None:
    number = free_ports(1)
    with serving_bundle(BUNDLE, number), pytest.raises(OSError), serving_bundle(BUNDLE, number):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", number))
