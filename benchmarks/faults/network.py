"""One network namespace for each institution, joined by a bridge; a link that is cut or slow."""

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SERVER = "10.213.77.1"
_BRIDGE, _PREFIX = "fl-faults", "fl-"
_CLONE_NEWNET = 0x40000000


class NoNetwork(Exception):
    """Namespaces are not to be had here; why."""


def sh(*words: object, ok: bool = True) -> str:
    """A command to its end; what it printed."""
    command = [str(word) for word in words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if ok and done.returncode != 0:
        raise NoNetwork(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


class Network:
    """The server is in the machine's own namespace, at `SERVER`; each site in one of its own."""

    def __init__(self, sites: Sequence[str]) -> None:
        self._sites = tuple(sites)

    def within(self, site: str) -> list[str]:
        """What stands before a command that is to run at a site."""
        return ["nsenter", f"--net=/run/netns/{_PREFIX}{site}"]

    def cut(self, site: str) -> None:
        """Nothing gets through any more, and nobody is told."""
        sh("ip", "link", "set", f"{_PREFIX}{site}", "down")

    def mend(self, site: str) -> None:
        sh("ip", "link", "set", f"{_PREFIX}{site}", "up")

    def listen_at(self, site: str, port: int) -> socket.socket:
        """A socket that takes, at the site, what goes to the server; call it in a thread of its
        own, which stays in the site's namespace."""
        with Path(f"/run/netns/{_PREFIX}{site}").open() as namespace:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        self.divert(site, on=True)
        return socket.create_server((SERVER, port))

    def divert(self, site: str, *, on: bool) -> None:
        """Let the server's address be the site's own machine, or not."""
        at = self.within(site)
        sh(*at, "ip", "address", "add" if on else "del", f"{SERVER}/32", "dev", "lo", ok=on)

    def make(self) -> None:
        sh("ip", "link", "add", _BRIDGE, "type", "bridge")
        sh("ip", "address", "add", f"{SERVER}/24", "dev", _BRIDGE)
        sh("ip", "link", "set", _BRIDGE, "up")
        for number, site in enumerate(self._sites):
            outer, inner = f"{_PREFIX}{site}", f"{_PREFIX}{site}-in"
            sh("ip", "netns", "add", outer)
            sh("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
            sh("ip", "link", "set", inner, "netns", outer)
            sh("ip", "link", "set", outer, "master", _BRIDGE, "up")
            at = self.within(site)
            sh(*at, "ip", "link", "set", "lo", "up")
            sh(*at, "ip", "address", "add", f"10.213.77.{10 + number}/24", "dev", inner)
            sh(*at, "ip", "link", "set", inner, "up")

    def remove(self) -> None:
        for site in self._sites:
            sh("ip", "link", "del", f"{_PREFIX}{site}", ok=False)
            sh("ip", "netns", "del", f"{_PREFIX}{site}", ok=False)
        sh("ip", "link", "del", _BRIDGE, ok=False)


@contextmanager
def network(sites: Sequence[str]) -> Iterator[Network]:
    """Namespaces for the length of the block.

    Raises:
        NoNetwork: no root, or no iproute2.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("nsenter") is None:
        raise NoNetwork("expected root, ip (iproute2) and nsenter (util-linux)")
    made = Network(sites)
    made.remove()
    try:
        made.make()
        yield made
    finally:
        made.remove()
