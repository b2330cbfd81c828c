"""Locks on files, which end with the process that holds them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedloom.shared.errors import ConfigError

# In the state folder: who holds it serves the site.
SERVING_LOCK = "serving.lock"


@dataclass(frozen=True, kw_only=True)
class LockedFile:
    """A file that is locked, by the path it had then."""

    path: Path
    descriptor: int

    @property
    def is_still_there(self) -> bool:
        """Whether the path names the very file that was locked; a lock stays with its file."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self.descriptor))
        except OSError:
            return False


@contextmanager
def locked(path: Path, flags: int) -> Iterator[LockedFile]:
    """Hold a file against all other processes.

    Raises:
        ConfigError: another one holds it.
    """
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield LockedFile(path=path, descriptor=descriptor)
    except BlockingIOError as error:
        raise ConfigError(
            str(path), ["another trainer service runs on it (fedloom site status), expected one"]
        ) from error
    finally:
        os.close(descriptor)
