"""`fedloom provision`: kits for the server and for each site."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

if TYPE_CHECKING:
    from fedloom.shared.kits.document import SiteRequest

_PATH = click.Path(path_type=Path)


class _Given(TypedDict):
    """The options, by name."""

    server: str
    port: int
    sites: tuple[str, ...]
    requests: tuple[Path, ...]
    remove: tuple[str, ...]
    renew_certificate: bool
    out: Path


@click.command("provision")
@click.argument("federation", type=_PATH)
@click.option("--server", required=True, help="Name or address by which sites reach the server.")
@click.option("--port", type=click.IntRange(1, 65_535), default=9443, show_default=True)
@click.option("--site", "sites", multiple=True, help="A site whose keys are made here.")
@click.option(
    "--request", "requests", multiple=True, type=_PATH, help="What a site made its own keys for."
)
@click.option("--remove", multiple=True, help="A site that is to count no more.")
@click.option("--renew-certificate", is_flag=True, help="A new certificate for the server.")
@click.option("--out", type=_PATH, default=Path("kits"), show_default=True, help="Folder of kits.")
def command(federation: Path, **given: Unpack[_Given]) -> None:
    """Make kits for the sites of FEDERATION.toml, and the first time the server's folder.

    Give --request for each site that sent one (fedloom site request): its private keys then
    never leave it. For --site, keys are made here, and the kit is encrypted under a passphrase.
    """
    from fedloom.server.deploy.provisioning import Provisioner
    from fedloom.server.deploy.settings import ServerSettings
    from fedloom.server.deploy.starting import undeclared
    from fedloom.shared.config.federation import read_federation

    config = read_federation(federation)
    out = given["out"]
    asked = _asked(given["requests"])
    wanted = {**asked, **{name: None for name in given["sites"] if name not in asked}}
    _check_known(wanted, {site.name for site in config.data.sites}, federation)
    provisioner = Provisioner(out)
    provisioner.begin(
        ServerSettings.of(config.federation.name, host=given["server"], port=given["port"])
    )
    for name in given["remove"]:
        provisioner.remove(name)
        click.echo(f"removed {name}: its node and its answers count no more")
    if given["renew_certificate"]:
        provisioner.renew_server()
        click.echo("renewed: the server's certificate; start the server again")
    provisioner.check_new(wanted)
    for name, request in wanted.items():
        made = provisioner.make(name, request)
        opened = "opens with that site's own keys"
        if made.passphrase is not None:
            opened = f"passphrase in {made.passphrase}: send it by another way"
        click.echo(f"{made.kit}  {opened}")
    home = provisioner.home
    click.echo(f"{home.path}  the server's, for this machine alone")
    click.echo(f"{out / 'authority'}  renews the server's certificate: keep it elsewhere")
    click.echo(f"coordinator's key: {home.coordinator().public}")
    click.echo("Tell this key to each site by another way than the kit's.")
    _tell_asked(asked)
    if problem := undeclared(config):
        click.echo(f"note: {problem}")


def _tell_asked(asked: "dict[str, SiteRequest]") -> None:
    for name, request in asked.items():
        click.echo(f"{name}'s joining key: {request.keys.link}")
    if asked:
        click.echo("Compare it by telephone: who sends a request may have put another key in.")


def _asked(requests: tuple[Path, ...]) -> "dict[str, SiteRequest]":
    from fedloom.shared.errors import CredentialError
    from fedloom.shared.kits.document import SiteRequest, read_document

    found: dict[str, SiteRequest] = {}
    for path in dict.fromkeys(requests):
        request = read_document(path, SiteRequest, expected="a site's request")
        # Whose is whose, only the coordinator can find out.
        if request.site in found:
            raise CredentialError(f"{path}: the second request of {request.site}, expected one")
        found[request.site] = request
    return found


def _check_known(wanted: Iterable[str], known: set[str], federation: Path) -> None:
    from fedloom.shared.errors import ConfigError

    strangers = [name for name in wanted if name not in known]
    if strangers:
        problem = f"no site {', '.join(strangers)}, expected one of {', '.join(sorted(known))}"
        raise ConfigError(str(federation), [problem])
