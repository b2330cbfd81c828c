"""Units for systemd: the same processes, each hardened, with users of their own."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from fedloom.shared.files import write_durably
from fedloom.shared.supervising import Process, one_line

# systemd.exec(5): what a process that only computes and speaks TCP does not need. PrivateUsers
# keeps units of one user apart: else each sees, through /proc, what is hidden from it alone.
# systemd.resource-control(5): who speaks to processes of this machine alone.
_LOOPBACK = "IPAddressDeny=any\nIPAddressAllow=localhost"
_HARDENING = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateUsers=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
CapabilityBoundingSet=
AmbientCapabilities=
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0077"""


def unit(process: Process, *, party: str) -> str:
    """One unit; it is restarted whenever it ends, and may write to its own folders alone."""
    environment = "\n".join(
        f'Environment="{name}={_escaped(value)}"'
        for name, value in process.whole_environment.items()
    )
    writes = "\n".join(f'ReadWritePaths="-{_escaped(path)}"' for path in process.writes)
    hidden = "\n".join(f'InaccessiblePaths="-{_escaped(path)}"' for path in process.hidden)
    return f"""\
[Unit]
Description=FedLoom {party}: {process.name}
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0
PartOf=fedloom-{party}.target

[Service]
Type=exec
User={process.user}
Group={process.user}
ExecStart={_command(process.command)}
Restart=always
RestartSec=5
TimeoutStopSec=30
{environment}
{writes}
{hidden}
PrivateDevices={"no" if process.devices else "yes"}
{_LOOPBACK if process.loopback else ""}
{_HARDENING}

[Install]
WantedBy=fedloom-{party}.target
"""


def target(processes: Sequence[Process], *, party: str) -> str:
    """All of a party's units as one thing to start."""
    wants = " ".join(f"{unit_name(process, party=party)}" for process in processes)
    return f"""\
[Unit]
Description=FedLoom {party}
Wants={wants}

[Install]
WantedBy=multi-user.target
"""


def unit_name(process: Process, *, party: str) -> str:
    """The file's name."""
    return f"fedloom-{party}-{process.name}.service"


def write_units(processes: Sequence[Process], folder: Path, *, party: str) -> Iterator[Path]:
    """Write all units and their target; where each is."""
    for process in processes:
        path = folder / unit_name(process, party=party)
        write_durably(path, unit(process, party=party).encode())
        yield path
    path = folder / f"fedloom-{party}.target"
    write_durably(path, target(processes, party=party).encode())
    yield path


def _command(parts: Sequence[str]) -> str:
    # $ begins a variable in each part but the program's own path, where $$ would stay as it is.
    program, *arguments = (f'"{_escaped(part)}"' for part in parts)
    return " ".join([program, *(part.replace("$", "$$") for part in arguments)])


def _escaped(value: object) -> str:
    text = one_line(value).replace("\\", "\\\\").replace('"', '\\"')
    # Anywhere in a unit, % begins a specifier.
    return text.replace("%", "%%")
