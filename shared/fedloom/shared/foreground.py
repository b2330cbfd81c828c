"""supervisord in the foreground, in place of this process."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fedloom.shared.files import write_durably
from fedloom.shared.supervising import Process, supervisord_config

_CONFIG = "supervisord.conf"


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
