"""Locks on files that tell who runs; each ends with the process that holds it."""

import fcntl
import os
from pathlib import Path


def hold(path: Path) -> bool:
    """Hold a file, made if it is not there, for as long as this process lives.

    False if another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True


def is_locked(path: Path) -> bool:
    """Whether another holds the file; looking makes none, and lets go of it at once.

    Who begins in that very instant is refused, and begins when it is started again.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
