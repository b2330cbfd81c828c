"""What FedLoom changes in Flower 1.41's own processes before they run, by public name or not.

Each change is a hole or a wait that Flower has no setting for; the version is pinned.
"""

import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

from fedloom.shared.files import make_folder
from fedloom.shared.supervising import ends_with_us

# A task's token is read as its process starts.
_TOKEN_SECONDS = 60.0
# Who waits for a server that is away looks this often.
RETRY_SECONDS = 3.0


def flower_home() -> Path:
    """The folder of this process of Flower's, as `Process.environment` names it."""
    return Path(os.environ["FLWR_HOME"])


def hide_task_tokens(
    folder: Path, starts: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> None:
    """Hand the token of each task over in a file of the owner's alone, in `folder`.

    Flower puts it on the command line, where every user of the machine can read it, and take
    the task. A task's process ends with the one that started it: nobody else knows of it.
    What one before it left in the folder is removed. `starts` has what is run in place of a
    command of Flower's.
    """
    module = importlib.import_module("flwr.supercore.superexec.executor.subprocess_executor")
    make_folder(folder)
    _drop(folder, older_than=0.0)

    def popen(command: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
        _drop(folder, older_than=_TOKEN_SECONDS)
        at = command.index("--token")
        handle, path = tempfile.mkstemp(dir=folder)
        with os.fdopen(handle, "w") as file:
            file.write(command[at + 1])
        first, *more = command[:at]
        start = [*ends_with_us(), *starts.get(first, [first]), *more]
        hidden = [*start, "--token-file", path, *command[at + 2 :]]
        return subprocess.Popen(hidden, **options)  # type: ignore[call-overload,no-any-return]

    shim = SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL)
    module.subprocess = shim  # type: ignore[attr-defined]


def _drop(folder: Path, *, older_than: float) -> None:
    for path in folder.iterdir():
        if time.time() - path.stat().st_mtime >= older_than:
            path.unlink()


def try_again_within(seconds: float) -> None:
    """Let Flower wait for so long at most between two tries of a server that is away.

    It doubles its wait up to 20 s: each outage would be longer by that.
    """
    module = importlib.import_module("flwr.supercore.retry.http_retry")
    module.MAX_RETRY_DELAY = seconds  # type: ignore[attr-defined]


def shorten_pauses(pauses: Mapping[float, float], module: str) -> None:
    """Where a Flower module sleeps for one of the keys' seconds, let it sleep for the value's."""
    imported = importlib.import_module(module) and sys.modules[module]
    usual = {name: getattr(time, name) for name in dir(time) if not name.startswith("_")}
    shim = SimpleNamespace(**usual)
    shim.sleep = lambda wanted: time.sleep(pauses.get(wanted, wanted))
    imported.time = shim  # type: ignore[attr-defined]
