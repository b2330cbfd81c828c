"""What a site's node does before it is Flower's: it waits for the server, and says that the node
that was here before it has gone.

Flower refuses a node whose key counts as connected, which it does for a minute after the node
was killed; and what that node had been given, nobody answers for until the minute is over.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
from flwr.proto.fleet_pb2 import ActivateNodeRequest, ActivateNodeResponse, DeactivateNodeRequest
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufRequestContext
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fedloom.client.deploy.link_folder import LinkFolder
from fedloom.shared.errors import CredentialError, DeployError
from fedloom.shared.files import write_durably
from fedloom.shared.kits.node_key import read_node_key
from fedloom.shared.locks import hold

logger = logging.getLogger("fedloom.node")

_LOOK_SECONDS = 2.0
# Flower takes a node's signature for five minutes.
_MOST_APART_SECONDS = 240.0
_AWAY = {
    502: "Flower's server is away",
    503: "Flower's server is away",
    504: "Flower's server does not answer",
}


def hold_node(link: LinkFolder) -> None:
    """Be the only node of this folder, for as long as this process lives.

    Raises:
        DeployError: another one runs.
    """
    if not hold(link.node_lock):
        raise DeployError(f"{link.path}: another node runs on it, expected one")


def take_over(link: LinkFolder, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until the server answers, and end what it thinks is connected under this key."""
    said = ""
    while (problem := _try(link)) is not None:
        if problem != said:
            logger.warning("%s; waits for it", problem)
        said = problem
        sleep(_LOOK_SECONDS)


def remember_number(link: LinkFolder) -> None:
    """Keep the number that the server knows this node by, for the node that comes after it."""
    activate = FleetHttpClient.ActivateNode

    def remembering(client: FleetHttpClient, request: ActivateNodeRequest) -> ActivateNodeResponse:
        answer = activate(client, request)
        write_durably(link.node_number, str(answer.node_id).encode(), mode=0o600)
        return answer

    FleetHttpClient.ActivateNode = remembering  # type: ignore[method-assign,assignment]


class _Clock:
    """Compares the server's clock with this machine's at each answer."""

    def __init__(self) -> None:
        self.apart = 0.0

    def intercept(
        self,
        context: ProtobufRequestContext,
        call_next: Callable[[ProtobufRequestContext], httpx.Response],
    ) -> httpx.Response:
        """Take note of how far they are apart."""
        response = call_next(context)
        self.apart = clocks_apart(response.headers.get("date"))
        return response

    @property
    def problem(self) -> str | None:
        """In words, if the server refuses a message for it."""
        if abs(self.apart) <= _MOST_APART_SECONDS:
            return None
        side = "ahead of" if self.apart > 0 else "behind"
        return (
            f"clock: this machine's is about {abs(self.apart) / 60:.0f} minutes {side} the "
            "server's, expected the same; until one is set, the server refuses this node"
        )


def clocks_apart(date: str | None) -> float:
    """By how much this clock is ahead of the one that wrote an HTTP date; 0 where there is none."""
    try:
        then = parsedate_to_datetime(date or "")
    except ValueError:
        return 0.0
    return (datetime.now(UTC) - then.replace(tzinfo=then.tzinfo or UTC)).total_seconds()


def _try(link: LinkFolder) -> str | None:
    """What stands in the way, if the server is not there or will not have this node's messages."""
    number, clock = _number(link), _Clock()
    try:
        with _client(link, clock) as client:
            client.DeactivateNode(DeactivateNodeRequest(node_id=number))
    except httpx.HTTPStatusError as error:
        # Anything else means that it is there, and no node of this number is connected.
        problem = _AWAY.get(error.response.status_code)
        return clock.problem if problem is None else f"server: {problem}"
    except httpx.TransportError as error:
        return f"server: cannot be reached ({type(error).__name__})"
    return None


def _client(link: LinkFolder, clock: _Clock) -> FleetHttpClient:
    own = read_node_key(link.node_key).private
    return FleetHttpClient.from_server_address(
        link.kit().server,
        False,
        link.authority.read_bytes(),
        interceptors=[
            RuntimeVersionHttpInterceptor(component_name="SuperNode"),
            NodeAuthHttpInterceptor(own, own.public_key()),
            clock,
        ],
    )


def _number(link: LinkFolder) -> int:
    try:
        return int(link.node_number.read_text())
    except (OSError, ValueError):
        return 0


def folder_of(key: str) -> LinkFolder:
    """The link folder that a node's private key lies in.

    Raises:
        CredentialError: it is no such folder.
    """
    link = LinkFolder(Path(key).absolute().parent)
    if not link.kit_file.is_file():
        raise CredentialError(f"{link.path}: no kit, expected a site that joined")
    return link
