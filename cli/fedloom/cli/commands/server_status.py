"""`fedloom server status`: one page."""

from pathlib import Path

import click


@click.command("status")
@click.option(
    "--kit",
    type=click.Path(path_type=Path),
    default=Path("kits/server"),
    show_default=True,
    help="The server's folder.",
)
def status(kit: Path) -> None:
    """Show processes, sites with when they were last seen, rounds, refusals and budgets."""
    from fedloom.server.deploy.home import ServerHome
    from fedloom.server.deploy.status import status_lines

    for line in status_lines(ServerHome(kit.absolute())):
        click.echo(line)
