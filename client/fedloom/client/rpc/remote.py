"""A site whose trainer service runs in a process of its own, as its relay sees it."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc

from fedloom.client.answering import Told, refusal
from fedloom.client.rpc.address import LIMITS, Address, read_address
from fedloom.client.rpc.messages import from_answer, to_hello, to_task
from fedloom.client.rpc.site_pb2_grpc import SiteStub
from fedloom.shared.wire.envelope import Envelope

logger = logging.getLogger("fedloom.relay")

# Keys of a Flower node's config: where the service listens, and the relay's certificates.
SITE_SERVICE, SITE_SERVICE_TLS = "site-service", "site-service-tls"
_UNREACHABLE = "trainer-unreachable"
_HELLO_SECONDS = 60.0
# A service that died is started again: until it has loaded its libraries and checked its ledger,
# a task that it had is worth asking for again. The same task is charged once.
_RETURN_SECONDS, _LOOK_SECONDS = 60.0, 0.5
_GONE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})


class RemoteSite:
    """Hands each question to the service at `address`.

    Guarantee: as `SiteAnswers`; what the connection itself says when it breaks stays here. A
    service that answers with a malformed head is none of ours: that is a `WireError`.
    """

    def __init__(self, address: Address, *, return_seconds: float = 0.0) -> None:
        self._address = address
        self._return_seconds = return_seconds

    def hello(self, asked: Envelope) -> Envelope:
        """Who the site is, and what is left of its budget."""
        return self._patiently(lambda: self._hello(asked))

    def train(self, asked: Envelope, told: Told) -> Envelope:
        """The sealed update for a task, or a refusal; as long as it takes."""
        return self._patiently(lambda: self._train(asked, told))

    def _patiently(self, ask: Callable[[], Envelope]) -> Envelope:
        """The answer; a service that is away is waited for, and asked the same again."""
        end = time.monotonic() + self._return_seconds
        while True:
            try:
                return ask()
            except grpc.RpcError as error:
                if not _is_gone(error) or time.monotonic() > end:
                    return self._unreachable(error)
            time.sleep(_LOOK_SECONDS)

    def _hello(self, asked: Envelope) -> Envelope:
        with _stub(self._address) as stub:
            return from_answer(stub.Hello(to_hello(asked), timeout=_HELLO_SECONDS))

    def _train(self, asked: Envelope, told: Told) -> Envelope:
        with _stub(self._address) as stub:
            for event in stub.Train(to_task(asked)):
                if event.WhichOneof("event") == "answer":
                    return from_answer(event.answer)
                told(event.stage)
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
    address = read_address(str(node.get(SITE_SERVICE, "")), folder, side="relay")
    return RemoteSite(address, return_seconds=_RETURN_SECONDS)


def _is_gone(error: grpc.RpcError) -> bool:
    return isinstance(error, grpc.Call) and error.code() in _GONE


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
