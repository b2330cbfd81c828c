"""`fedloom demo`: four institutions on real records."""

from pathlib import Path

import click

from fedloom.cli.running import Simulation, default_folder, simulate


@click.command("demo")
@click.option("--full", is_flag=True, help="Train every arm of the comparison (takes longer).")
@click.option("--out", type=click.Path(path_type=Path), help="New run folder (runs/demo-TIME).")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with this run folder.")
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder of the assets.")
@click.option("--offline", is_flag=True, help="Use only what is in the cache.")
def command(
    full: bool, out: Path | None, resume: Path | None, cache: Path | None, offline: bool
) -> None:
    """Four institutions fine-tune MiniLM on real sentences at epsilon 8; the report says what that
    cost, what it bought and what audits found, and the gate decides whether the adapter may
    leave."""
    if out and resume:
        raise click.UsageError("--out and --resume exclude each other")
    from fedloom.shared.assets.cache import default_cache
    from fedloom.shared.config.federation import read_federation
    from fedloom.simulation.demo.hutto import prepare_demo

    federation = prepare_demo(cache or default_cache(), offline=offline)
    wanted = Simulation(
        compare="all" if full else None,
        resume=resume is not None,
        how_to_run_all="fedloom demo --full",
    )
    folder = resume or out or default_folder("demo")
    simulate(read_federation(federation), folder, wanted)
    _decide(folder)


def _decide(folder: Path) -> None:
    """Let the gate decide by what the demo promised; a release that is there already stays."""
    from fedloom.cli.releasing import Terms, release

    if not (folder / "release").exists():
        click.echo("decision, by the rules that were written down when the run began")
        release(folder, Terms())
