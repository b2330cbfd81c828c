"""A site's answers, served to its relay on a socket."""

import os
import socket
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import grpc

from fedloom.client.answering import CANNOT_ANSWER, CANNOT_TRAIN, SiteAnswers, refusal
from fedloom.client.rpc.address import LIMITS, Address
from fedloom.client.rpc.messages import from_hello, from_task, to_answer
from fedloom.client.rpc.site_pb2 import Answer, HelloRequest, Task, TrainEvent
from fedloom.client.rpc.site_pb2_grpc import SiteServicer as Methods
from fedloom.client.rpc.site_pb2_grpc import add_SiteServicer_to_server
from fedloom.shared.errors import ConfigError, WireError
from fedloom.shared.files import OWNER_ONLY
from fedloom.shared.health import Health
from fedloom.shared.wire.envelope import Envelope

# A relay asks one thing at a time; more than a few at once is no relay.
_AT_ONCE = 8
_GRACE_SECONDS = 2.0

_register: Callable[[Methods, grpc.Server], None] = add_SiteServicer_to_server
_Events = SimpleQueue[TrainEvent | None]


class SiteServicer(Methods):
    """The two methods of `site.proto` over a site's answers, one task at a time.

    A task whose relay has gone trains to its end and is sealed: asked again, it is answered at
    once. One that had not begun is dropped.
    """

    def __init__(self, site: SiteAnswers) -> None:
        self._site = site
        self._trainer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="trainer")

    def Hello(self, request: HelloRequest, context: grpc.ServicerContext) -> Answer:  # noqa: N802
        """Who the site is, and what is left of its budget."""
        try:
            asked = from_hello(request)
        except WireError:
            return to_answer(refusal("unknown", CANNOT_ANSWER))
        return to_answer(self._site.hello(asked))

    def Train(  # noqa: N802
        self, request: Task, context: grpc.ServicerContext
    ) -> Iterator[TrainEvent]:
        """The stages that a task passes, then one answer."""
        events: _Events = SimpleQueue()
        # Emptied when the relay has gone: then it does not train, and what waits behind a long
        # task fills no memory.
        asked = [request]
        del request
        self._trainer.submit(self._work, asked, events)

        def gone() -> None:
            asked.clear()
            events.put(None)

        if not context.add_callback(gone):
            gone()
        while (event := events.get()) is not None:
            yield event
            if event.WhichOneof("event") == "answer":
                return

    def close(self) -> None:
        """Wait until the task at work is sealed; those that wait are dropped."""
        self._trainer.shutdown(wait=True, cancel_futures=True)

    def _work(self, asked: list[Task], events: _Events) -> None:
        try:
            for request in asked.copy():
                answer = self._answered(request, events)
                events.put(TrainEvent(answer=to_answer(answer)))
        finally:
            # Whatever happened, nobody waits for ever.
            events.put(None)

    def _answered(self, request: Task, events: _Events) -> Envelope:
        try:
            asked = from_task(request)
        except WireError:
            return refusal("unknown", CANNOT_TRAIN)
        return self._site.train(asked, lambda stage: events.put(TrainEvent(stage=stage)))


@contextmanager
def serving(site: SiteAnswers, address: Address) -> Iterator[grpc.Server]:
    """The service, listening for the length of the block.

    Raises:
        ConfigError: the address cannot be had, or its socket is open to others.
    """
    server = grpc.server(
        ThreadPoolExecutor(max_workers=_AT_ONCE),
        options=(*LIMITS, ("grpc.so_reuseport", 0)),
        maximum_concurrent_rpcs=_AT_ONCE,
    )
    servicer = SiteServicer(site)
    health = Health()
    health.add_to(server)
    _register(servicer, server)
    _listen(server, address)
    server.start()
    health.set(serving=True)
    try:
        yield server
    finally:
        server.stop(_GRACE_SECONDS).wait()
        # Only then may another service have the dataset.
        servicer.close()


def _listen(server: grpc.Server, address: Address) -> None:
    if address.socket is not None and _is_served(address.socket):
        raise ConfigError(str(address.socket), ["another service answers there, expected none"])
    # The socket must not be open to others even for the moment before a chmod.
    before = os.umask(0o177)
    try:
        _bind(server, address)
    except RuntimeError as error:
        raise ConfigError("service address", [f"{address.target}: cannot be had"]) from error
    finally:
        os.umask(before)
    path = address.socket
    if path is not None and stat.S_IMODE(path.stat().st_mode) != OWNER_ONLY:
        raise ConfigError(str(path), ["the socket is open to others, expected mode 600"])


def _is_served(path: Path) -> bool:
    """Whether somebody listens there; a socket that a killed service left does not answer."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _bind(server: grpc.Server, address: Address) -> None:
    own = address.credentials
    if own is None:
        server.add_insecure_port(address.target)
        return
    trusted = grpc.ssl_server_credentials(
        [(own.key, own.certificate)], own.authority, require_client_auth=True
    )
    server.add_secure_port(address.target, trusted)
