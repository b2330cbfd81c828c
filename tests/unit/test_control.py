"""FedLoom's side of Flower's Control interface, against Flower's own server and in earnest."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest
from flwr.proto.control_pb2 import StartRunRequest
from flwr.supercore.control import ControlHttpClient
from flwr.superlink.servicer.control import control_handlers

from fedloom.server.deploy.bundle import Bundle, signed_bundle
from fedloom.server.deploy.control import FlowerControl, node_public_key
from fedloom.server.deploy.hub import serving_bundle
from fedloom.shared.errors import CredentialError, DeployError
from fedloom.shared.keys import SigningKey
from fedloom.shared.kits.trusted import openssh_key
from tests.support.deployed import free_ports
from tests.support.flower_server import PLAN_SHA256, node_of, some_keys
from tests.support.superlink import TOKEN, guarded_superlink


@dataclass
class Served:
    control: FlowerControl
    client: ControlHttpClient
    url: str
    bundle: Bundle


class Bearer:
    """Shows a token."""

    def __init__(self, token: bytes) -> None:
        self._token = token.decode()

    def intercept(self, context: object, call_next: Callable[[object], object]) -> object:
        context.request.headers["authorization"] = f"Bearer {self._token}"  # type: ignore[attr-defined]
        return call_next(context)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    port = free_ports(2)
    hub = port + 1
    bundle = signed_bundle(SigningKey.generate(), now=int(time.time()))
    with pytest.MonkeyPatch.context() as patch, guarded_superlink(port) as url:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setattr(control_handlers, "FLWR_SUPERGRID_API_URL", f"http://127.0.0.1:{hub}/v1")
        with serving_bundle(bundle, hub), ControlHttpClient(url, interceptors=[Bearer(TOKEN)]) as c:
            yield Served(control=FlowerControl(c), client=c, url=url, bundle=bundle)


def test_a_node_is_let_in_and_out_and_never_in_again(served: Served) -> None:
    """The last is why a removed site must bring new keys, and why one refusal is no outage."""
    control, key = served.control, node_of(some_keys())
    control.register("north", key)
    (node,) = [one for one in control.nodes() if one.public_key == key]
    assert (node.name, node.online, node.last_seen) == ("north", False, None)
    control.unregister(node.node_id)
    assert key not in {one.public_key for one in control.nodes()}
    with pytest.raises(DeployError, match="4"):
        control.register("north", key)


def test_a_run_starts_with_the_hubs_bundle_lasts_and_is_stopped(served: Served) -> None:
    control = served.control
    number = control.start(served.bundle.app, "ours-1", PLAN_SHA256)
    assert control.lasting()["ours-1"] == number
    found = control.run(number)
    assert found is not None and not found.ended
    control.stop(number)
    found = control.run(number)
    assert found is not None and found.ended and found.outcome == "stopped"
    assert "ours-1" not in control.lasting()


def test_a_run_is_found_however_many_came_after_it(served: Served) -> None:
    """Flower lists the newest twenty: the first would count as lost, and be started again."""
    control = served.control
    first = control.start(served.bundle.app, "first", PLAN_SHA256)
    for number in range(21):
        control.start(served.bundle.app, f"later-{number}", PLAN_SHA256)
    found = control.run(first)
    assert found is not None and not found.ended
    assert control.lasting()["first"] == first


def test_there_is_no_run_of_a_number_that_flower_never_gave(served: Served) -> None:
    assert served.control.run("12345") is None


def test_another_version_of_the_app_is_refused_in_one_line(served: Served) -> None:
    with pytest.raises(DeployError, match="Flower's server says 4") as caught:
        served.control.start("@fedloom/federation==0.0.7", "ours", PLAN_SHA256)
    assert "\n" not in str(caught.value)


def test_without_the_token_nothing_is_started(served: Served) -> None:
    for token in (b"wrong", TOKEN[:-1], TOKEN + b"0"):
        with ControlHttpClient(served.url, interceptors=[Bearer(token)]) as client:
            with pytest.raises(DeployError, match="says 401"):
                FlowerControl(client).nodes()
            with pytest.raises(httpx.HTTPStatusError):
                client.StartRun(StartRunRequest(app_spec=served.bundle.app))


def test_a_server_that_is_away_is_told_as_that() -> None:
    with ControlHttpClient(f"http://127.0.0.1:{free_ports(1)}") as client:
        control = FlowerControl(client)
        for ask in (control.nodes, control.lasting, lambda: control.run("1")):
            with pytest.raises(DeployError, match="does not answer: ConnectError"):
                ask()


def test_an_answer_that_is_none_is_no_crash(
    monkeypatch: pytest.MonkeyPatch, served: Served
) -> None:
    """Something else may listen on the port."""
    page = httpx.MockTransport(lambda _: httpx.Response(200, content=b"<html>\xff</html>"))
    with ControlHttpClient(served.url) as client:
        monkeypatch.setattr(client, "_client", httpx.Client(transport=page))
        with pytest.raises(DeployError, match="does not answer"):
            FlowerControl(client).nodes()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-rsa AAAA",
        pytest.param(openssh_key(SigningKey.generate().public), id="a site's own key"),
    ],
)
def test_what_is_no_nodes_key_is_told(text: str) -> None:
    with pytest.raises(CredentialError, match="node's key"):
        node_public_key(text)
