"""A site whose trainer service runs in a process of its own, as its relay sees it."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc

from fedloom.client.answering import Told, refusal
from fedloom.client.rpc.address import LIMITS, Address, read_address
from fedloom.client.rpc.messages import from_answer, to_task
from fedloom.client.rpc.site_pb2 import HelloRequest
from fedloom.client.rpc.site_pb2_grpc import SiteStub
from fedloom.shared.wire.envelope import Envelope

logger = logging.getLogger("fedloom.relay")

# Keys of a Flower node's config: where the service listens, and the relay's certificates.
SITE_SERVICE, SITE_SERVICE_TLS = "site-service", "site-service-tls"
_UNREACHABLE = "trainer-unreachable"
_HELLO_SECONDS = 60.0


class RemoteSite:
    """Hands each question to the service at `address`.

    Guarantee: as `SiteAnswers`; what the connection itself says when it breaks stays here. A
    service that answers with a malformed head is none of ours: that is a `WireError`.
    """

    def __init__(self, address: Address) -> None:
        self._address = address

    def hello(self, asked: Envelope) -> Envelope:
        """Who the site is, and what is left of its budget."""
        request = HelloRequest(header=asked.frame.header)
        with _stub(self._address) as stub:
            try:
                return from_answer(stub.Hello(request, timeout=_HELLO_SECONDS))
            except grpc.RpcError as error:
                return self._unreachable(error)

    def train(self, asked: Envelope, told: Told) -> Envelope:
        """The sealed update for a task, or a refusal; as long as it takes."""
        with _stub(self._address) as stub:
            try:
                for event in stub.Train(to_task(asked)):
                    if event.WhichOneof("event") == "answer":
                        return from_answer(event.answer)
                    told(event.stage)
            except grpc.RpcError as error:
                return self._unreachable(error)
        return refusal("unknown", _UNREACHABLE)

    def _unreachable(self, error: grpc.RpcError) -> Envelope:
        code = error.code().name.lower() if isinstance(error, grpc.Call) else "unknown"
        logger.error("trainer service on %s: %s", self._address.target, code)
        return refusal("unknown", _UNREACHABLE)


def connect(node: Mapping[str, bool | float | int | str]) -> RemoteSite:
    """The site that a Flower node's config names.

    Raises:
        ConfigError: it names none, or one that is neither on a socket nor on loopback with TLS.
    """
    tls = node.get(SITE_SERVICE_TLS)
    folder = None if tls is None else Path(str(tls))
    return RemoteSite(read_address(str(node.get(SITE_SERVICE, "")), folder, side="relay"))


@contextmanager
def _stub(address: Address) -> Iterator[SiteStub]:
    own = address.credentials
    if own is None:
        channel = grpc.insecure_channel(address.target, options=LIMITS)
    else:
        trusted = grpc.ssl_channel_credentials(own.authority, own.key, own.certificate)
        channel = grpc.secure_channel(address.target, trusted, options=LIMITS)
    with channel:
        make: Callable[[grpc.Channel], SiteStub] = SiteStub
        yield make(channel)
