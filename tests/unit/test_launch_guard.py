"""Nobody reaches Flower's Control interface without the token, by whichever spelling of a path."""

import asyncio
import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi.routing import iter_route_contexts
from flwr.superlink.main import create_app
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.routing import WebSocketRoute

from fedloom.server.deploy import launch
from fedloom.server.deploy.launch import Guard
from fedloom.shared.errors import CredentialError
from fedloom.shared.flower_process import hide_task_tokens
from tests.support.deployed import free_ports
from tests.support.superlink import TOKEN, guarded_superlink

RIGHT = [(b"authorization", b"Bearer " + TOKEN)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with guarded_superlink(free_ports(1)) as found:
        yield found


def status(url: str, path: str, *, token: bytes | None = None) -> int:
    """The status of a POST of nothing to a path that is sent as it is written."""
    connection = http.client.HTTPConnection(str(urlsplit(url).netloc), timeout=10)
    connection.putrequest("POST", path, skip_host=False)
    connection.putheader("Content-Length", "0")
    connection.putheader("Content-Type", "application/protobuf")
    if token is not None:
        connection.putheader("Authorization", b"Bearer " + token)
    connection.endheaders()
    found = connection.getresponse().status
    connection.close()
    return found


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/list-nodes", "//v1/control/list-nodes", "/v1//control/list-nodes",
        "/v1/control/list-nodes/", "/v1/control/list-nodes?x=/v1/fleet/",
        "/v1/contro%6C/list-nodes",
        "/v1%2Fcontrol%2Flist-nodes", "/v1/control/../control/list-nodes", "/docs",
        "/openapi.json",
        "/", "/health/", "/healthy", "/v1/fleet", "/V1/FLEET/pull-messages",
        "http://127.0.0.1/v1/control/list-nodes",
    ],
)  # fmt: skip
def test_without_the_token_it_is_401(url: str, path: str) -> None:
    assert status(url, path) == 401
    assert status(url, path, token=b"wrong") == 401


@pytest.mark.parametrize(
    "path",
    [
        "/v1/fleet/../control/list-nodes", "/v1/fleet/%2e%2e/control/list-nodes",
        "/v1/fleet/..%2fcontrol/list-nodes", "/v1/runtime/..;/control/list-nodes",
        "/v1/fleet//v1/control/list-nodes", "/v1/fleet/\\..\\control/list-nodes",
    ],
)  # fmt: skip
def test_what_looks_like_a_nodes_path_reaches_nothing_else(url: str, path: str) -> None:
    """The guard lets these through by their beginning: Flower must find nothing there."""
    assert status(url, path) == 404


def test_with_the_token_flower_answers(url: str) -> None:
    assert status(url, "/v1/control/list-nodes", token=TOKEN) == 200


def test_nodes_tasks_and_health_need_no_token(url: str) -> None:
    for path in ("/v1/fleet/pull-messages", "/v1/runtime/responses"):
        assert status(url, path) != 404
    connection = http.client.HTTPConnection(str(urlsplit(url).netloc), timeout=10)
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200


@settings(max_examples=60, deadline=None)
@given(
    root=st.sampled_from(["/v1/fleet/", "/v1/runtime/"]),
    between=st.lists(
        st.sampled_from(["..", ".", "", "%2e%2e", "%2E.", "..%2f..", "v1", "%2f", "fleet"]),
        max_size=5,
    ),
)  # fmt: skip
def test_no_way_leads_from_an_open_path_to_control(url: str, root: str, between: list[str]) -> None:
    path = root + "/".join([*between, "control", "list-nodes"])
    assert status(url, path) in (401, 404)


def test_flower_has_no_websockets_that_a_guard_of_requests_would_let_through() -> None:
    routes = [found.route for found in iter_route_contexts(create_app().routes)]
    assert len(routes) > 40, "the list of routes is found at all"
    assert not [route for route in routes if isinstance(route, WebSocketRoute)]


def passed(scope: dict[str, object], token: bytes = TOKEN) -> bool:
    """Whether the guard hands a scope on."""
    seen: list[object] = []

    async def app(scope: object, *_: object) -> None:
        seen.append(scope)

    async def send(_: object) -> None: ...

    asyncio.run(Guard(app, token)(scope, None, send))
    return bool(seen)


def test_start_and_end_of_the_server_pass_and_headers_do_not_add_up() -> None:
    assert passed({"type": "lifespan"})
    control: dict[str, object] = {"type": "http", "path": "/v1/control/x", "method": "POST"}
    assert passed(control | {"headers": RIGHT})
    assert not passed(control | {"headers": []})
    assert not passed(control | {"headers": [(b"x-authorization", RIGHT[0][1])]})
    assert not passed(control | {"headers": [(b"authorization", TOKEN)]})
    assert not passed(control | {"headers": [(b"authorization", b"bearer " + TOKEN)]})
    assert not passed({"type": "http", "headers": []})


@pytest.mark.parametrize(("content", "mode"), [(b"", 0o600), (b"short", 0o600), (TOKEN, 0o644)])
def test_a_server_without_a_token_of_its_own_does_not_start(
    tmp_path: Path, content: bytes, mode: int
) -> None:
    """With an empty one, whoever shows an empty one would be let in."""
    path = tmp_path / "control.token"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(CredentialError):
        launch._token(path)
    path.write_bytes(TOKEN + b"\n")
    path.chmod(0o600)
    assert launch._token(path) == TOKEN


def test_a_tasks_token_is_not_on_its_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess

    from flwr.supercore.superexec.executor import subprocess_executor as module
    from flwr.supercore.superexec.executor.types import ExecutionSpec

    ran: list[list[str]] = []
    monkeypatch.setattr(module, "subprocess", module.subprocess)
    hide_task_tokens(tmp_path / "tasks")
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: ran.append(command))
    fields = ExecutionSpec.__dataclass_fields__
    values = {name: None for name in fields} | {
        "task_type": next(iter(module.TASK_TYPE_TO_COMMAND)),
        "runtime_api_address": "127.0.0.1:1",
        "token": "the-secret",
        "task_id": 1,
        "fab_hash": "ab",
    }
    module.SubprocessExecutor().launch(ExecutionSpec(**values))
    (command,) = ran
    assert "the-secret" not in " ".join(command)
    path = Path(command[command.index("--token-file") + 1])
    assert path.read_text() == "the-secret"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
