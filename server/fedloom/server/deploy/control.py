"""Flower's Control interface, on loopback and with the server's own token."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.common.serde import user_config_from_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.client import ProtobufRequestContext

from fedloom.server.deploy.bundle import PLAN, RUN
from fedloom.server.deploy.home import ServerHome
from fedloom.shared.errors import CredentialError, DeployError
from fedloom.shared.printable import printable

# Flower's own word for a run in which nothing more happens.
ENDED = "finished"
# How many of the newest Flower runs may be among those that last.
_RECENT = 200


@dataclass(frozen=True, kw_only=True)
class NodeState:
    """A registered node: `last_seen` in seconds since 1970, None if it never came."""

    node_id: int
    name: str
    public_key: bytes
    online: bool
    last_seen: float | None


@dataclass(frozen=True, kw_only=True)
class FlowerRun:
    """Where Flower's run is: `pending`, `starting`, `running` or `finished`, and how it ended."""

    status: str
    outcome: str
    details: str

    @property
    def ended(self) -> bool:
        """Whether nothing more happens in it."""
        return self.status == ENDED


class Control(Protocol):
    """What the keeper asks of Flower's server; each may raise `DeployError` when it is away."""

    def nodes(self) -> list[NodeState]:
        """All registered nodes."""

    def register(self, name: str, public_key: bytes) -> None:
        """Let a node in, by its key."""

    def unregister(self, node_id: int) -> None:
        """Let it in no more."""

    def start(self, app: str, run: str, plan_sha256: str) -> str:
        """Start a Flower run of `app` for a wanted run; its number."""

    def run(self, number: str) -> FlowerRun | None:
        """Where a Flower run is; None if there is none of that number."""

    def lasting(self) -> dict[str, str]:
        """The Flower run that has not ended, by the name of its wanted run."""

    def stop(self, number: str) -> None:
        """End it."""


class FlowerControl:
    """The interface of a SuperLink."""

    def __init__(self, client: ControlHttpClient) -> None:
        self._client = client

    def nodes(self) -> list[NodeState]:
        """All registered nodes."""
        with _told():
            found = self._client.ListNodes(ListNodesRequest()).nodes_info
        return [
            NodeState(
                node_id=node.node_id,
                name=node.name,
                public_key=node.public_key,
                online=node.status == "online",
                # Flower notes how long a node counts as there: two heartbeats from the last.
                last_seen=node.online_until - 2 * node.heartbeat_interval
                if node.online_until
                else None,
            )
            for node in found
            if node.status != "unregistered"
        ]

    def register(self, name: str, public_key: bytes) -> None:
        """Let a node in, by its key."""
        with _told():
            self._client.RegisterNode(RegisterNodeRequest(public_key=public_key, name=name))

    def unregister(self, node_id: int) -> None:
        """Let it in no more."""
        with _told():
            self._client.UnregisterNode(UnregisterNodeRequest(node_id=node_id))

    def start(self, app: str, run: str, plan_sha256: str) -> str:
        """Start a Flower run; its number."""
        config = user_config_to_proto({RUN: run, PLAN: plan_sha256})
        with _told():
            request = StartRunRequest(app_spec=app, override_config=config)
            return str(self._client.StartRun(request).run_id)

    def run(self, number: str) -> FlowerRun | None:
        """Where a Flower run is."""
        # Asked for by its number: a list has the newest twenty alone.
        request = ListRunsRequest(run_id=int(number))
        with _told():
            try:
                runs = self._client.ListRuns(request).run_dict
            except httpx.HTTPStatusError as error:
                if error.response.status_code == httpx.codes.NOT_FOUND:
                    return None
                raise
        found = runs.get(int(number))
        if found is None:
            return None
        status = found.status
        return FlowerRun(
            status=status.status, outcome=status.sub_status, details=printable(status.details)
        )

    def lasting(self) -> dict[str, str]:
        """The Flower run that has not ended, by the name of its wanted run."""
        with _told():
            runs = self._client.ListRuns(ListRunsRequest(limit=_RECENT)).run_dict
        return {
            str(user_config_from_proto(run.override_config).get(RUN, "")): str(number)
            for number, run in runs.items()
            if run.status.status != ENDED
        }

    def stop(self, number: str) -> None:
        """End it."""
        with _told():
            self._client.StopRun(StopRunRequest(run_id=int(number)))


@contextmanager
def flower_control(home: ServerHome) -> Iterator[FlowerControl]:
    """The interface of the server in `home`, for the length of the block."""
    settings, token = home.settings(), home.control_token.read_text().strip()

    class Bearer:
        """Shows the server's token."""

        def intercept(
            self,
            context: ProtobufRequestContext,
            call_next: Callable[[ProtobufRequestContext], httpx.Response],
        ) -> httpx.Response:
            """Add the token."""
            context.request.headers["authorization"] = f"Bearer {token}"
            return call_next(context)

    client = ControlHttpClient.from_server_address(
        f"127.0.0.1:{settings.superlink_port}",
        False,
        home.authority.read_bytes(),
        [RuntimeVersionHttpInterceptor(component_name="fedloom"), Bearer()],
    )
    with client:
        yield FlowerControl(client)


def node_public_key(openssh: str) -> bytes:
    """A node's public key as Flower's server keeps it.

    Raises:
        CredentialError: no elliptic curve key.
    """
    try:
        key = load_ssh_public_key(openssh.encode())
    except ValueError as error:
        raise CredentialError("node's key: cannot be read, expected a line of OpenSSH's") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CredentialError("node's key: expected an elliptic curve key")
    return public_key_to_bytes(key)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPStatusError as error:
        text = printable(error.response.text)
        raise DeployError(f"Flower's server says {error.response.status_code}: {text}") from error
    except (httpx.HTTPError, ValueError) as error:
        # A ValueError is an answer that is none.
        raise DeployError(f"Flower's server does not answer: {type(error).__name__}") from error
