"""The argument SITE of all commands about one site: its site.toml, or the folder that it is in."""

from pathlib import Path

import click

_NAME = "site.toml"


def _file(_context: click.Context, _argument: click.Parameter, given: Path) -> Path:
    return given / _NAME if given.is_dir() else given


SITE = click.argument("site", type=click.Path(path_type=Path), callback=_file)
