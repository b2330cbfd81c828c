"""`fedloom site init | check`: begin a site, and see what is wrong with one before it joins."""

from pathlib import Path
from typing import TypedDict, Unpack

import click

from fedloom.cli.site_file import SITE

_PATH = click.Path(path_type=Path)


class _Given(TypedDict):
    """The options of `init`, by name."""

    name: str
    records: Path
    model: Path
    text: str
    label: str
    unit: str
    labels: tuple[str, ...] | None
    units: int | None
    passphrase_file: Path | None
    two_users: bool


def _names(_context: click.Context, _option: click.Parameter, value: str | None) -> object:
    if value is None:
        return None
    return tuple(name.strip() for name in value.split(",") if name.strip())


@click.command("init")
@click.argument("folder", type=_PATH)
@click.option("--name", required=True, help="The site's public name.")
@click.option("--records", type=_PATH, required=True, help="A .csv, .jsonl or .parquet file.")
@click.option("--model", type=_PATH, required=True, help="Folder of the base model.")
@click.option("--text", default="text", show_default=True, help="Column of texts.")
@click.option("--label", default="label", show_default=True, help="Column of classes or answers.")
@click.option(
    "--unit", default="record", show_default=True, help="Who is protected: record, or a column."
)
@click.option("--labels", callback=_names, help='The classes in order, as "a,b,c"; "" for none.')
@click.option("--units", type=click.IntRange(min=1), help="Public size (counted, rounded down).")
@click.option(
    "--two-users", is_flag=True, help="Let the Flower node be run by another user (systemd)."
)
@click.option("--passphrase-file", type=_PATH, help="File with a passphrase for the site's key.")
def init(folder: Path, **given: Unpack[_Given]) -> None:
    """Begin a site in FOLDER: site.toml, policy.toml, a signing key and a ledger.

    Nothing that is there already is written over.
    """
    from fedloom.client.site.beginning import begin_site
    from fedloom.client.site.new_site import NewSite

    for line in begin_site(NewSite(folder=folder, **given)).lines():
        click.echo(line)


@click.command("check")
@SITE
@click.pass_context
def check(context: click.Context, site: Path) -> None:
    """Say on one page what is wrong with SITE, a site.toml or its folder, before anyone joins.

    Changes nothing, and prints nothing of a record. Exit code 1 if there is a problem.
    """
    from fedloom.client.site.checking import check_site, has_problem, page

    findings = check_site(site)
    for line in page(site, findings):
        click.echo(line)
    if has_problem(findings):
        context.exit(1)
