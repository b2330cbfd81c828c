"""`fedloom server run | stop`: what the coordinator wants."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedloom.shared.words import count

if TYPE_CHECKING:
    from fedloom.shared.plan import Plan

_PATH = click.Path(path_type=Path)
_KIT = click.option(
    "--kit",
    type=_PATH,
    default=Path("kits/server"),
    show_default=True,
    help="The server's folder.",
)


@click.command("run")
@click.argument("federation", type=_PATH, required=False)
@_KIT
@click.option("--resume", help="Let this run go on instead.")
@click.option("--no-follow", is_flag=True, help="Do not wait for its end.")
@click.option("--online", is_flag=True, help="Allow the base model to be fetched from the hub.")
@click.pass_context
def run(
    context: click.Context,
    federation: Path | None,
    kit: Path,
    resume: str | None,
    no_follow: bool,
    online: bool,
) -> None:
    """Start a run of FEDERATION.toml on the server that is up, and follow it.

    Ctrl-C ends the following, not the run. A run that fails for want of sites or after a crash
    goes on by itself; after any other error, --resume RUN lets it go on.
    """
    if (federation is None) == (resume is None):
        raise click.UsageError("give a federation file, or --resume RUN")
    from fedloom.cli.following import follow
    from fedloom.server.deploy.home import ServerHome
    from fedloom.server.deploy.starting import want_again, want_run
    from fedloom.shared.config.federation import read_federation

    home = ServerHome(kit.absolute())
    home.settings()
    if resume is not None:
        begun = want_again(home, resume)
    elif federation is not None:
        begun = want_run(home, read_federation(federation), offline=not online)
    click.echo(f"run {begun.name}, in {begun.folder.path}")
    if begun.note:
        click.echo(f"note: {begun.note}")
    for line in _cost(begun.folder.read_plan()):
        click.echo(line)
    if not no_follow:
        context.exit(follow(home, begun))


def _cost(plan: "Plan") -> Iterator[str]:
    """What each site is asked for; fedloom plan shows it round by round."""
    width = max(len(site.name) for site in plan.sites)
    for site in plan.sites:
        privacy = "without privacy"
        if site.epsilon is not None:
            privacy = (
                f"noise {site.noise_multiplier:.3f}, epsilon {site.epsilon:.2f} at delta "
                f"{plan.privacy.delta:g}"
            )
        seeded = "; SEEDED: NOT PRIVATE" if plan.privacy.seeded else ""
        steps = count(site.steps, "step")
        yield (
            f"  {site.name:<{width}}  {site.declared_units:,} units, {steps} in "
            f"{count(plan.rounds.total, 'round')}, {privacy}{seeded}"
        )


@click.command("stop")
@click.argument("name")
@_KIT
def stop(name: str, kit: Path) -> None:
    """Let the run NAME not go on; fedloom server run --resume NAME does."""
    from fedloom.server.deploy.home import ServerHome
    from fedloom.server.deploy.starting import stop_run

    stop_run(ServerHome(kit.absolute()), name)
    click.echo(f"stopped: {name}; its rounds stay")
