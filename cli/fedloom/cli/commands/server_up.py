"""`fedloom server up | units`: the server's processes."""

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)
_KIT = click.argument("kit", type=_PATH)


@click.command("up")
@_KIT
def up(kit: Path) -> None:
    """Serve the federation in the folder KIT (kits/server) until stopped.

    Flower's server, its proxy and the keeper of runs; whichever dies is started again. Runs
    that are wanted go on.
    """
    from fedloom.server.deploy.home import ServerHome
    from fedloom.server.deploy.processes import make_home, server_processes, taken_ports
    from fedloom.shared.foreground import become_supervisor, check_free, write_supervisor

    home = ServerHome(kit.absolute())
    processes = server_processes(home)
    make_home(home)
    check_free("the server", home.path, lambda: taken_ports(home))
    config = write_supervisor(processes, folder=home.path, logs=home.logs)
    settings = home.settings()
    click.echo(
        f"starting the server of {settings.federation} on {settings.listen}:{settings.port}; "
        "Ctrl-C stops"
    )
    click.echo(f"logs in {home.logs}; fedloom doctor says what ails it")
    become_supervisor(config)


@click.command("units")
@_KIT
@click.option("--out", type=_PATH, required=True, help="Folder for the units.")
def units(kit: Path, out: Path) -> None:
    """Write hardened units for systemd into a folder, in place of `fedloom server up`.

    Writes to no other folder: the server's own may be another user's.
    """
    from fedloom.server.deploy.home import ServerHome
    from fedloom.server.deploy.processes import server_processes
    from fedloom.shared.units import write_units

    processes = server_processes(ServerHome(kit.absolute()))
    for path in write_units(processes, out, party="server"):
        click.echo(path)
