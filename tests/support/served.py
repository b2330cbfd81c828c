"""A site behind a socket, in this process or in one of its own."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedloom.client.rpc.address import Address, read_address
from fedloom.client.rpc.remote import RemoteSite
from fedloom.client.rpc.serving import serving
from fedloom.client.site.desk import SiteDesk
from fedloom.client.site.directory import SiteDirectory
from fedloom.shared.errors import WireError
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.messages import HelloHeader, HelloQuestion


def a_question() -> Envelope:
    """Who are you?"""
    return Envelope(frame=HelloQuestion.fresh().frame())


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose name leaves room for a socket's."""
    with tempfile.TemporaryDirectory(prefix="fl-") as folder:
        yield Path(folder)


@contextmanager
def behind_a_socket(settings: Path) -> Iterator[Address]:
    """The site's desk, served on a Unix socket; its address."""
    with short_folder() as folder:
        address = read_address(f"unix:{folder / 's'}", None, side="service")
        with serving(SiteDesk(settings, SiteDirectory()), address):
            yield address


class ServiceProcess:
    """`fedloom site serve` as a user starts it."""

    def __init__(self, settings: Path, socket: Path) -> None:
        self._settings = settings
        self._socket = socket
        self.site = RemoteSite(read_address(f"unix:{socket}", None, side="relay"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "fedloom.cli", "site", "serve", str(self._settings)]
        log = self._settings.with_name("serve.log").open("ab")
        self._process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        end = time.monotonic() + 60
        while not (self._socket.exists() and self.answers):
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(self._settings.with_name("serve.log").read_text()[-2000:])
            time.sleep(0.05)

    @property
    def answers(self) -> bool:
        """Whether it says who it is."""
        try:
            HelloHeader.parse(self.site.hello(a_question()).frame.header)
        except WireError:
            return False
        return True

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None
