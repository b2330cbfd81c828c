"""`fedloom doctor`: what ails a server or a site between machines."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fedloom.shared.doctor.symptom import Look


@click.command("doctor")
@click.argument("where", type=click.Path(path_type=Path))
@click.pass_context
def command(context: click.Context, where: Path) -> None:
    """Look at a server's folder or at a site, WHERE, and say how to mend what is wrong.

    Versions, keys, certificates, clocks, ports, disk, model, and the way to the server. Changes
    nothing. Exit code 1 if there is something to mend.
    """
    from fedloom.shared.doctor.symptom import page

    lines, ill = page(_looks(where))
    for line in lines:
        click.echo(line)
    if ill:
        context.exit(1)


def _looks(where: Path) -> "list[Look]":
    if (where / "server.toml").is_file():
        from fedloom.server.deploy.doctor import server_looks
        from fedloom.server.deploy.home import ServerHome

        return server_looks(ServerHome(where.absolute()))
    settings = where / "site.toml" if where.is_dir() else where
    if settings.name == "server.toml" or not settings.is_file():
        from fedloom.shared.errors import ConfigError

        problem = "neither a server's folder nor a site, expected server.toml or site.toml there"
        raise ConfigError(str(where), [problem])
    from fedloom.client.deploy.doctor import site_looks

    return site_looks(settings)
