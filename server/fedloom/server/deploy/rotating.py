"""Keeps the proxy's log short: a peer makes it as long as it likes."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.proxy import access_log, older_log

logger = logging.getLogger("fedloom.keeper")

_MOST_BYTES = 20_000_000
_LOOK_SECONDS = 2.0


def rotate(home: ServerHome, *, most_bytes: int = _MOST_BYTES) -> None:
    """Put the end of a log that is too long aside, in place of the one before, and empty it.

    nginx appends to the file it has, so that it need not be told. To give it another file by a
    signal fails where it was started by root: its worker, nobody, may not open one there.

    Raises:
        OSError: the folder of logs cannot be written.
    """
    log = access_log(home)
    if not log.is_file() or log.stat().st_size <= most_bytes:
        return
    with log.open("rb+") as file:
        file.seek(-most_bytes, 2)
        older_log(home).write_bytes(file.read(most_bytes))
        file.truncate(0)


@contextmanager
def rotating(home: ServerHome) -> Iterator[None]:
    """Look after the log for the length of the block, in a thread of its own: the keeper may have
    to wait for Flower's server while somebody floods the door."""
    stopped = threading.Event()

    def look() -> None:
        while not stopped.wait(_LOOK_SECONDS):
            try:
                rotate(home)
            except OSError as error:
                logger.error("the proxy's log: %s", error)

    thread = threading.Thread(target=look, name="rotating", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
