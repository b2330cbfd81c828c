"""The processes of one party, and the settings by which a supervisor keeps them up.

supervisord in the foreground restarts what died, for a machine without systemd and for tests;
where there is systemd, units that are generated from the same processes do it.
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# What Flower and the model libraries must not do at run time: call home, or install anything.
_OFFLINE: Mapping[str, str] = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
}
# A process that cannot start is tried again a second later each time, and never given up:
# a node is refused for a minute after it was killed.
_RETRIES = 1_000_000
_STOP_SECONDS = 25


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process: its name, what to run, and what its environment has beside the usual.

    Where the roles are users of their own, `user` runs it; it may write to the folders `writes`
    alone, and finds nothing at `hidden`.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    writes: Sequence[Path] = ()
    hidden: Sequence[Path] = ()
    user: str = "fedloom"

    @property
    def whole_environment(self) -> Mapping[str, str]:
        """Offline, and with this installation's own programs found first."""
        here = str(Path(sys.executable).parent)
        return {**_OFFLINE, "PATH": f"{here}:/usr/local/bin:/usr/bin:/bin", **self.environment}


def own_program(name: str) -> str:
    """A program of this installation, by its full path."""
    return str(Path(sys.executable).with_name(name))


def own_module(module: str) -> list[str]:
    """How to run one of FedLoom's own modules; the working folder is not searched for code."""
    return [sys.executable, "-P", "-m", module]


def supervisord_config(processes: Sequence[Process], *, folder: Path, logs: Path) -> str:
    """The settings of supervisord for `processes`; its socket and state in `folder`."""
    head = [
        "[supervisord]",
        "nodaemon=true",
        "silent=true",
        f"logfile={_escaped(logs / 'supervisor.log')}",
        f"pidfile={_escaped(folder / 'supervisor.pid')}",
        "umask=077",
        "",
        "[unix_http_server]",
        f"file={_escaped(folder / 'supervisor.sock')}",
        "chmod=0700",
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        "",
        "[supervisorctl]",
        f"serverurl=unix://{_escaped(folder / 'supervisor.sock')}",
    ]
    programs = [line for process in processes for line in _program(process, logs)]
    return "\n".join([*head, *programs]) + "\n"


def ends_with_us(how: str = "TERM") -> list[str]:
    """What stands before a command whose process is to end, by a signal, as the one that starts
    it does: who is itself killed must not leave processes that hold ports and locks."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", how, "--"] if setpriv else []


def _program(process: Process, logs: Path) -> list[str]:
    command = [*ends_with_us(), *process.command]
    return [
        "",
        f"[program:{process.name}]",
        f"command={' '.join(_quoted(part) for part in command)}",
        f"environment={_environment(process.whole_environment)}",
        "autorestart=true",
        "startsecs=3",
        f"startretries={_RETRIES}",
        f"stopwaitsecs={_STOP_SECONDS}",
        "stopasgroup=true",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={_escaped(logs / f'{process.name}.log')}",
        "stdout_logfile_maxbytes=10MB",
        "stdout_logfile_backups=3",
    ]


def _environment(values: Mapping[str, str]) -> str:
    return ",".join(f"{name}={_quoted(value)}" for name, value in values.items())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_escaped(escaped)}"'


def _escaped(value: object) -> str:
    return str(value).replace("%", "%%")
