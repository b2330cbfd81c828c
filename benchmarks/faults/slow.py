"""A slow line: each byte comes `delay` later, and no more than `rate` bytes a second get through.

In user space, since not every kernel has netem. TCP's own handshake is not delayed, TLS's is.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from benchmarks.faults.network import SERVER, Network

_CHUNK = 8192


@contextmanager
def slow_line(
    network: Network, site: str, port: int, *, delay: float, rate: float
) -> Iterator[None]:
    """All that the site and the server say to each other is slow for the length of the block."""
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        # Made here: this thread is in the site's namespace, the loop's in the machine's.
        server = await asyncio.start_server(
            lambda reader, writer: _relayed(reader, writer, port, delay, rate), sock=held[0]
        )
        ready.set()
        async with server:
            await server.serve_forever()

    held = []
    opener = threading.Thread(target=lambda: held.append(network.listen_at(site, port)))
    opener.start()
    opener.join()
    thread = threading.Thread(target=lambda: _run(loop, serve()), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        thread.join(10)
        network.divert(site, on=False)
        held[0].close()


def _run(loop: asyncio.AbstractEventLoop, work: object) -> None:
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(work)  # type: ignore[arg-type]


async def _relayed(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    port: int,
    delay: float,
    rate: float,
) -> None:
    onward_reader, onward_writer = await asyncio.open_connection(SERVER, port)
    with suppress(OSError, asyncio.CancelledError):
        await asyncio.gather(
            _pump(reader, onward_writer, delay, rate), _pump(onward_reader, writer, delay, rate)
        )


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, rate: float
) -> None:
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=64)

    async def deliver() -> None:
        while (item := await queue.get())[1]:
            await asyncio.sleep(max(0.0, item[0] - time.monotonic()))
            writer.write(item[1])
            await writer.drain()
        writer.close()

    delivering = asyncio.ensure_future(deliver())
    while data := await reader.read(_CHUNK):
        await asyncio.sleep(len(data) / rate)
        await queue.put((time.monotonic() + delay, data))
    await queue.put((0.0, b""))
    await delivering
