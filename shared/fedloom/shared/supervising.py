"""The processes of one party, and the settings by which a supervisor keeps them up.

supervisord in the foreground restarts what died, for a machine without systemd and for tests;
where there is systemd, units that are generated from the same processes do it.
"""

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedloom.shared.errors import DeployError

# What Flower and the model libraries must not do at run time: call home, or install anything.
_OFFLINE: Mapping[str, str] = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
}
# Where the supervisor itself listens.
SOCKET = "supervisor.sock"
# A process that cannot start is tried again a second later each time, and never given up:
# a node is refused for a minute after it was killed.
_RETRIES = 1_000_000
_STOP_SECONDS = 25
# Where an institution's machine has a web proxy, what speaks to loopback must not go through it.
_LOOPBACK = "127.0.0.1,localhost,::1"


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process: its name, what to run, and what its environment has beside the usual.

    Where the roles are users of their own, `user` runs it; it may write to the folders `writes`
    alone, finds nothing at `hidden`, reaches the machine's devices only with `devices`, and with
    `loopback` no other machine.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    writes: Sequence[Path] = ()
    hidden: Sequence[Path] = ()
    devices: bool = False
    loopback: bool = False
    user: str = "fedloom"

    @property
    def whole_environment(self) -> Mapping[str, str]:
        """Offline, loopback without a web proxy, and this installation's own programs first."""
        here = str(Path(sys.executable).parent)
        usual = {**_OFFLINE, **_direct(), "PATH": f"{here}:/usr/local/bin:/usr/bin:/bin"}
        return {**usual, **self.environment}


def own_program(name: str) -> str:
    """A program of this installation, by its full path."""
    return str(Path(sys.executable).with_name(name))


def own_module(module: str) -> list[str]:
    """How to run one of FedLoom's own modules; the working folder is not searched for code."""
    return [sys.executable, "-P", "-m", module]


def one_line(value: object) -> str:
    """A value as text, for settings in which a line break would begin another setting.

    Raises:
        DeployError: there is a line break or another control character in it.
    """
    text = str(value)
    if any(ord(each) < 32 or ord(each) == 127 for each in text):
        raise DeployError(f"{text!r}: a control character, expected none in a process's settings")
    return text


def supervisord_config(processes: Sequence[Process], *, folder: Path, logs: Path) -> str:
    """The settings of supervisord for `processes`, to lie in `folder`; `logs` is within it.

    Paths are told from the settings' own place: no way of quoting a file's name there holds for
    all names.

    Raises:
        DeployError: a line break in a command.
    """
    within = logs.relative_to(folder)
    head = [
        "[supervisord]",
        "nodaemon=true",
        "silent=true",
        f"logfile=%(here)s/{within}/supervisor.log",
        "pidfile=%(here)s/supervisor.pid",
        "umask=077",
        "",
        "[unix_http_server]",
        f"file=%(here)s/{SOCKET}",
        "chmod=0700",
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        "",
        "[supervisorctl]",
        f"serverurl=unix://%(here)s/{SOCKET}",
    ]
    programs = [line for process in processes for line in _program(process, within)]
    return "\n".join([*head, *programs]) + "\n"


def ends_with_us() -> list[str]:
    """What stands before a command whose process is to end as the one that starts it does: who
    is itself killed must not leave processes that hold ports and locks."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def _program(process: Process, logs: Path) -> list[str]:
    return [
        "",
        f"[program:{process.name}]",
        f"command={' '.join(_quoted(part) for part in _whole_command(process))}",
        "autorestart=true",
        "startsecs=3",
        f"startretries={_RETRIES}",
        f"stopwaitsecs={_STOP_SECONDS}",
        "stopasgroup=true",
        "killasgroup=true",
        "redirect_stderr=true",
        # Of this one key, supervisor expands the value twice.
        f"stdout_logfile=%%(here)s/{logs}/{process.name}.log",
        "stdout_logfile_maxbytes=10MB",
        "stdout_logfile_backups=3",
    ]


def _whole_command(process: Process) -> list[str]:
    # supervisor's own key for an environment cannot hold quotes or backslashes.
    values = [f"{name}={value}" for name, value in process.whole_environment.items()]
    return [*ends_with_us(), shutil.which("env") or "/usr/bin/env", *values, *process.command]


def _direct() -> dict[str, str]:
    usual = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    direct = f"{usual},{_LOOPBACK}" if usual else _LOOPBACK
    return {"NO_PROXY": direct, "no_proxy": direct}


def _quoted(text: str) -> str:
    escaped = one_line(text).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    # After a space these begin a comment, in quotes too; not after a quote.
    return '"' + re.sub(r"(?<=\s)(?=[;#])", '""', escaped) + '"'
