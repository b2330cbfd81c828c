"""`fedloom server`: the coordinator's own side of a deployment."""

from types import MappingProxyType

import click

from fedloom.cli.lazy import Commands, LazyGroup

COMMANDS: Commands = MappingProxyType(
    {
        "up": ("server_up", "up", "Serve a federation until stopped: Flower, proxy, keeper."),
        "run": ("server_run", "run", "Start a run, or let one go on, and follow it."),
        "stop": ("server_run", "stop", "Let a run not go on; its rounds stay."),
        "status": ("server_status", "status", "Show sites, rounds, refusals and budgets."),
        "units": ("server_up", "units", "Write units for systemd."),
    }
)


@click.command("server", cls=LazyGroup, commands_by_name=COMMANDS)
def command() -> None:
    """Serve a federation between institutions: what provision made, and its runs."""
