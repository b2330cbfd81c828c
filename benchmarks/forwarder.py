"""A TCP forwarder that counts bytes: what really goes over the wire, TLS and headers included."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_CHUNK = 1 << 16


@dataclass
class Wire:
    """Bytes so far, `up` from sites to the server and `down` to sites."""

    up: int = 0
    down: int = 0

    def seen(self) -> tuple[int, int]:
        """Both, as of now."""
        return self.up, self.down


class _Forwarder:
    def __init__(self, target: int, wire: Wire) -> None:
        self._target = target
        self._wire = wire

    async def serve(self, port: int, stopped: asyncio.Event, ready: threading.Event) -> None:
        async with await asyncio.start_server(self._connected, "127.0.0.1", port):
            ready.set()
            await stopped.wait()

    async def _connected(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            far, out = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            # The server is not up yet; nodes try again.
            back.close()
            return
        await asyncio.gather(self._pump(near, out, "up"), self._pump(far, back, "down"))

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: str
    ) -> None:
        with suppress(OSError):
            while chunk := await source.read(_CHUNK):
                setattr(self._wire, way, getattr(self._wire, way) + len(chunk))
                sink.write(chunk)
                await sink.drain()
        with suppress(OSError):
            sink.close()


@contextmanager
def forwarding(port: int, *, to: int) -> Iterator[Wire]:
    """A port of loopback that stands for port `to`, for the length of the block."""
    wire, ready, loop = Wire(), threading.Event(), asyncio.new_event_loop()
    stopped = asyncio.Event()
    work = _Forwarder(to, wire).serve(port, stopped, ready)
    thread = threading.Thread(target=loop.run_until_complete, args=(work,), daemon=True)
    thread.start()
    if not ready.wait(10):
        raise RuntimeError(f"port {port} cannot be had")
    try:
        yield wire
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(10)
