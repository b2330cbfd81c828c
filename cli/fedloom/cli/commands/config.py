"""`fedloom config`: begin or check a federation file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fedloom.shared.config.federation import FederationConfig

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
    """Check PATH and name all problems at once; records are not read.

    The suite of audits is checked with it, and that it measures what release.rules ask for.
    """
    from fedloom.server.evaluator.promises import promise_problems
    from fedloom.shared.config.federation import missing_files, read_federation
    from fedloom.shared.errors import ConfigError
    from fedloom.shared.words import count

    config = read_federation(path)
    problems = [*missing_files(config), *promise_problems(config)]
    to_fetch = _model_to_fetch(config)
    if problems:
        # The model last: it may yet be fetched.
        raise ConfigError(str(path), [*problems, *to_fetch])
    sites = ", ".join(site.name for site in config.data.sites)
    click.echo(f"{path}: valid; {count(len(config.data.sites), 'site')}: {sites}")
    for text in to_fetch:
        click.echo(f"note: {text}")


def _model_to_fetch(config: "FederationConfig") -> list[str]:
    """That the base model is neither a folder nor in the hub's cache, unless `missing_files`
    says it: the path of a folder is no hub id."""
    from fedloom.shared.files import is_folder

    model = config.model.path
    if is_folder(Path(model)) or model.startswith((".", "/", "~")):
        return []
    from fedloom.shared.errors import ModelError
    from fedloom.shared.model.base import resolve_model

    try:
        resolve_model(model)
    except ModelError:
        return [f"model.path: no folder {model}; if it is a hub id, --online fetches it"]
    return []
