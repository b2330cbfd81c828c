"""Ports of this machine, asked by connecting: one that was just let go of counts as free."""

import socket

_SECONDS = 1.0
# An interface that stands for all of them is reached by the loopback one.
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def is_taken(port: int, host: str = "127.0.0.1") -> bool:
    """Whether anything listens there."""
    try:
        socket.create_connection((_ANY.get(host, host), port), timeout=_SECONDS).close()
    except OSError:
        return False
    return True
