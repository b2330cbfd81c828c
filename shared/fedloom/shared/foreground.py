"""supervisord in the foreground, in place of this process."""

import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fedloom.shared.errors import DeployError
from fedloom.shared.files import write_durably
from fedloom.shared.supervising import SOCKET, Process, supervisord_config

_CONFIG = "supervisord.conf"
_PATIENCE_SECONDS, _LOOK_SECONDS = 5.0, 0.25


def check_free(name: str, folder: Path, taken: Callable[[], str | None]) -> None:
    """Make sure that a party is not up already, and that nothing is where its processes go.

    Processes of a supervisor that was killed end a moment after it: so what is `taken`, in words,
    is looked at for a while.

    Raises:
        DeployError: a supervisor answers in `folder`, or something stays taken.
    """
    if _answers(folder / SOCKET):
        raise DeployError(f"{name} is up already (logs in {folder / 'logs'})")
    end = time.monotonic() + _PATIENCE_SECONDS
    while (problem := taken()) is not None:
        if time.monotonic() >= end:
            raise DeployError(problem)
        time.sleep(_LOOK_SECONDS)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_LOOK_SECONDS)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def write_supervisor(processes: Sequence[Process], *, folder: Path, logs: Path) -> Path:
    """The supervisor's settings, the owner's alone; where they are."""
    content = supervisord_config(processes, folder=folder, logs=logs)
    path = folder / _CONFIG
    write_durably(path, content.encode(), mode=0o600)
    return path


def become_supervisor(config: Path) -> None:
    """Be the supervisor from here on; a signal ends it and all that it started."""
    module = ["-P", "-W", "ignore", "-m", "supervisor.supervisord"]
    os.execv(sys.executable, [sys.executable, *module, "-c", str(config)])  # noqa: S606
