"""Metrics for Prometheus on loopback, by one thread, whoever connects.

Every user of the machine reaches loopback, and the process that is asked has more to do: so a
connection costs it no thread, an answer is read at most once in some seconds, and who says
nothing is dropped.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector, CollectorRegistry

_FRESH_SECONDS = 5.0
_PATIENCE_SECONDS = 5.0
_MOST_CONNECTIONS = 32
_MOST_HEAD = 8192


class _Figures:
    """What a collector says, not asked again for a while."""

    def __init__(self, collector: Collector) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        self._told, self._until = b"", 0.0

    def told(self) -> bytes:
        """The metrics as text."""
        now = time.monotonic()
        if now >= self._until:
            self._told = generate_latest(self._registry)
            self._until = time.monotonic() + _FRESH_SECONDS
        return self._told


class _Scraped:
    """Answers each connection once; of too many, the oldest is dropped."""

    def __init__(self, figures: _Figures) -> None:
        self._figures = figures
        self._open: dict[asyncio.StreamWriter, None] = {}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, whatever its path is."""
        while len(self._open) >= _MOST_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()
        self._open[writer] = None
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(self._figures.told()))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            self._open.pop(writer, None)
            writer.close()


@contextmanager
def serving_metrics(collector: Collector, port: int) -> Iterator[None]:
    """A collector's metrics on a port of loopback, for the length of the block.

    Raises:
        OSError: the port is taken.
    """
    scraped = _Scraped(_Figures(collector))
    listening = socket.create_server(("127.0.0.1", port))
    loop, stopped = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with await asyncio.start_server(scraped.answer, sock=listening, limit=_MOST_HEAD):
            await stopped.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()


def _response(body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE_LATEST}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
