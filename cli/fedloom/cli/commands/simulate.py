"""`fedloom simulate`: a whole federation on this machine."""

from pathlib import Path

import click

from fedloom.cli.running import ARM_CHOICES, Simulation, default_folder, simulate


@click.command("simulate")
@click.argument("federation", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="New run folder (runs/NAME-TIME).")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with this run folder.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes (one a core).")
@click.option(
    "--compare",
    type=click.Choice(ARM_CHOICES),
    help="What to train beside the federation, see below (none; with --resume, added to RUN's).",
)
@click.option(
    "--sites",
    type=click.Path(path_type=Path),
    help="Keep the sites' policies and ledgers in this folder, from run to run.",
)
@click.option("--online", is_flag=True, help="Allow the base model to be fetched from the hub.")
def command(
    federation: Path,
    out: Path | None,
    resume: Path | None,
    workers: int | None,
    compare: str | None,
    sites: Path | None,
    online: bool,
) -> None:
    """Run FEDERATION.toml with every site on this machine, and write its report.

    Killed at any point, it goes on with --resume RUN, with just what it was asked when it began,
    and spends nothing twice. With --sites,
    the first run writes each site's policy.toml for just what it asks, and a second
    one finds what was spent and is refused what that file does not allow. The very same plan
    again is answered from the ledgers, which is said.

    \b
    Beside the federation, --compare trains
      none         nothing
      non-private  the same without clipping and noise: what privacy costs
      mitigated    the same with the file's [evaluation.mitigation], and non-private
      all          both of these, and each site alone: what federating buys
    """
    if out and resume:
        raise click.UsageError("--out and --resume exclude each other")
    from fedloom.shared.config.federation import read_federation

    config = read_federation(federation)
    folder = resume or out or default_folder(config.federation.name)
    wanted = Simulation(
        compare=compare, resume=resume is not None, workers=workers, online=online, sites=sites
    )
    simulate(config, folder, wanted)
