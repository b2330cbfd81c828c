"""`fedloom site request | join | up`: a site joins a federation, and its node goes up."""

from pathlib import Path

import click

from fedloom.cli.site_file import SITE

_PATH = click.Path(path_type=Path)


@click.command("request")
@SITE
@click.option("--out", type=_PATH, help="Where to write it (NAME.request).")
def request(site: Path, out: Path | None) -> None:
    """Make the keys of the site file SITE for a federation, and a request to be sent for a kit.

    The private keys stay here. The request holds the public ones alone.
    """
    from fedloom.client.deploy.joining import Joining
    from fedloom.shared.files import write_durably

    asked = Joining(site).request()
    path = out or Path(f"{asked.site}.request")
    write_durably(path, asked.model_dump_json(indent=1).encode())
    click.echo(f"{path}  send it to the coordinator, who answers with a kit")
    click.echo(f"joining key: {asked.keys.link}")


@click.command("join")
@SITE
@click.argument("kit", type=_PATH)
@click.option("--passphrase-file", type=_PATH, help="File with the passphrase of an encrypted kit.")
@click.option("--yes", is_flag=True, help="Do not ask whether the coordinator's key is right.")
def join(site: Path, kit: Path, passphrase_file: Path | None, yes: bool) -> None:
    """Let the site file SITE join the federation of a KIT.

    Compare the coordinator's key with what it told you by another way: who made the kit can
    ask this site to train.
    """
    from fedloom.client.deploy.joining import Joining, described

    joining = Joining(site)
    signed = joining.read(kit)
    for line in described(signed):
        click.echo(line)
    if not (yes or click.confirm("Is this the coordinator's key, as told by another way?")):
        click.echo("not joined")
        raise SystemExit(1)
    joining.join(signed, None if passphrase_file is None else _words(passphrase_file))
    click.echo(f"joined: {signed.kit.federation} as {signed.kit.site}")
    click.echo(f"next: fedloom site check {site}, then fedloom site up {site}")


def _words(path: Path) -> str:
    from fedloom.shared.files import check_owner_only

    check_owner_only(path)
    return path.read_text(encoding="utf-8")


@click.command("up")
@SITE
@click.option("--only", type=click.Choice(["trainer", "node"]), help="This part of it alone.")
def up(site: Path, only: str | None) -> None:
    """Run the trainer service and the Flower node of the site file SITE until stopped.

    Whichever dies is started again. All of it runs as this user: what the node runs can then
    read the records too. `fedloom site units` writes units for systemd with a user for each;
    in containers, --only gives each part its own.
    """
    from fedloom.client.deploy.coming_up import check_can_come_up
    from fedloom.client.deploy.processes import site_processes, supervisor_folder
    from fedloom.shared.foreground import become_supervisor, write_supervisor

    trainer, *node = site_processes(site)
    parts = {"trainer": [trainer], "node": node}
    processes = [trainer, *node] if only is None else parts[only]
    folder = supervisor_folder(site, only)
    name = check_can_come_up(site, folder, only).name
    config = write_supervisor(processes, folder=folder, logs=folder / "logs")
    click.echo(f"starting site {name}; Ctrl-C stops")
    click.echo(f"logs in {folder / 'logs'}; fedloom doctor says what ails it")
    become_supervisor(config)


@click.command("units")
@SITE
@click.option("--out", type=_PATH, required=True, help="Folder for the units.")
def units(site: Path, out: Path) -> None:
    """Write hardened units for systemd: the trainer and the node as users of their own.

    Writes to no other folder: what the node needs, `fedloom site join` has made.
    """
    from fedloom.client.deploy.processes import check_two_users, site_processes
    from fedloom.shared.units import write_units

    check_two_users(site)
    for path in write_units(site_processes(site), out, party="site"):
        click.echo(path)
