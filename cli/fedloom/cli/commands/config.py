"""`fedloom config`: begin or check a federation file."""

from pathlib import Path

import click

TEMPLATE = """\
# A federation of FedLoom. Keys that are left out have the defaults of docs/configuration.md.

[federation]
name = "my-federation"

[model]
path = "model"                      # a folder, or a hub id such as google-bert/bert-base-uncased

[task]
labels = ["negative", "positive"]

[privacy]
epsilon = 8.0                       # for each record of a site, over the whole run
delta = 1e-5

[data]
text = "text"                       # columns of the sites' CSV, JSONL or Parquet files
label = "label"

[[data.sites]]
name = "north"
path = "north.csv"

[[data.sites]]
name = "south"
path = "south.csv"
"""


@click.group("config")
def command() -> None:
    """Begin or check a federation.toml."""


@command.command("init")
@click.argument("path", type=click.Path(path_type=Path), default=Path("federation.toml"))
def init(path: Path) -> None:
    """Write a small federation file to PATH (federation.toml)."""
    from fedloom.shared.errors import ConfigError

    if path.exists():
        raise ConfigError(str(path), ["exists already, expected a new file"])
    path.write_text(TEMPLATE, encoding="utf-8")
    click.echo(f"wrote {path}; next: fedloom config validate {path}")


@command.command("validate")
@click.argument("path", type=click.Path(path_type=Path), default=Path("federation.toml"))
def validate(path: Path) -> None:
    """Check PATH and name all problems at once; records are not read."""
    from fedloom.shared.config.federation import missing_files, read_federation
    from fedloom.shared.errors import ConfigError
    from fedloom.shared.words import count

    config = read_federation(path)
    missing = missing_files(config)
    if missing:
        raise ConfigError(str(path), missing)
    sites = ", ".join(site.name for site in config.data.sites)
    click.echo(f"{path}: valid; {count(len(config.data.sites), 'site')}: {sites}")
