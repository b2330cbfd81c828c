"""What `simulate` and `demo` share: run a study, show it, say where its report is."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from fedloom.shared.config.data import JOINT
from fedloom.shared.config.federation import FederationConfig
from fedloom.shared.words import count

if TYPE_CHECKING:
    from fedloom.server.report.schema import Report
    from fedloom.server.run.folder import RunFolder
    from fedloom.simulation.arms import ArmKind

_ARMS: Mapping[str, "tuple[ArmKind, ...]"] = MappingProxyType(
    {
        "none": (),
        "non-private": ("non-private",),
        "mitigated": ("non-private", "mitigated"),
        "all": ("non-private", "mitigated", "alone"),
    }
)
ARM_CHOICES = tuple(_ARMS)


def default_folder(name: str) -> Path:
    """A new folder under `runs/`, named by the time."""
    return Path("runs") / f"{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """How a user wants a run carried out. `sites` is a folder of sites that outlast it; a resumed
    run has the arms that it was begun with, and those of `compare`."""

    compare: str | None = None
    resume: bool = False
    workers: int | None = None
    online: bool = False
    sites: Path | None = None
    how_to_run_all: str = "fedloom simulate --compare all"


def simulate(config: FederationConfig, folder: Path, wanted: Simulation) -> "Report":
    """Prepare, run, score and report; prints the outcome.

    Raises:
        FedLoomError: whatever is wrong with config, data, model, folder or run.
    """
    from rich.console import Console

    from fedloom.cli.progress import shown_progress
    from fedloom.server.evaluator.kept_suite import unlike_kept
    from fedloom.server.evaluator.promises import check_promises
    from fedloom.server.run.folder import RunFolder
    from fedloom.simulation.asked import unlike_groups
    from fedloom.simulation.federation import worker_pool
    from fedloom.simulation.kept import answered_from_ledgers, ledger_lengths
    from fedloom.simulation.prepare import decided_as_before, prepare
    from fedloom.simulation.study import StudyOptions, run_study

    console = Console(stderr=True)
    options = StudyOptions(
        arms=_ARMS[wanted.compare or "none"],
        resume=wanted.resume,
        sites=wanted.sites,
        how_to_run_all=wanted.how_to_run_all,
    )
    # The workers load their libraries while this process reads records and plans.
    run = RunFolder(folder)
    if wanted.resume:
        config = decided_as_before(config, run.read_plan())
        _say_note(unlike_kept(run, config.evaluation.suite))
        _say_note(unlike_groups(run, config.evaluation.groups))
    else:
        check_promises(config)
        run.refuse_existing()
    console.print(f"run folder {folder}", highlight=False, soft_wrap=True)
    with (
        told_how_to_resume(run),
        worker_pool(sites=len(config.data.sites), workers=wanted.workers) as executor,
        shown_progress(console) as progress,
    ):
        progress.stage("read records, plan", 1)
        prepared = prepare(config, offline=not wanted.online)
        progress.step(
            f"{count(len(prepared.plan.sites), 'site')}, plan {prepared.plan.sha256[:12]}"
        )
        before = {} if wanted.sites is None or wanted.resume else ledger_lengths(wanted.sites)
        report = run_study(prepared, run, executor, progress, options)
    _say(report, folder)
    if wanted.sites is not None:
        _say_answered(answered_from_ledgers(before, wanted.sites, report))
    return report


@contextmanager
def told_how_to_resume(run: "RunFolder") -> Iterator[None]:
    """Whoever presses Ctrl-C within is told how the run goes on; exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        began = run.plan.exists()
        way = f"--resume {run.path} goes on" if began else "nothing had begun"
        raise click.exceptions.Exit(_stopped(way)) from None


def _stopped(way: str) -> int:
    click.echo(f"stopped; {way}", err=True)
    return 130


def _say(report: "Report", folder: Path) -> None:
    from fedloom.server.report.headline import concern_of

    if report.privacy.seeded:
        click.echo("SEEDED: NOT PRIVATE. The noise was repeatable and protects nobody.")
    named = [arm.name for arm in report.evaluation] + [f"site {at.name}" for at in report.sites]
    width = max(map(len, named), default=0)
    for arm in report.evaluation:
        joint = arm.tests[JOINT].accuracy
        promise = f"  epsilon {arm.epsilon:g}" if arm.epsilon else ""
        click.echo(
            f"  {arm.name:<{width}}  accuracy {joint.value:6.1%}  "
            f"[{joint.low:.1%}, {joint.high:.1%}]{promise}"
        )
    for site in report.sites:
        spent = "no privacy" if site.epsilon_spent is None else f"epsilon {site.epsilon_spent:.2f}"
        click.echo(f"  {f'site {site.name}':<{width}}  {spent} spent, {site.bytes_up:,} bytes sent")
    concern = concern_of(report)
    if concern:
        click.echo(f"  note: {concern}")
    click.echo(f"adapter {folder / 'adapter'}")
    click.echo(f"report  {folder / 'report.html'}")


def _say_note(note: str | None) -> None:
    if note:
        click.echo(f"note: {note}")


def _say_answered(names: Sequence[str]) -> None:
    if names:
        sites = ", ".join(names)
        click.echo(
            f"note: this plan was run before: {sites} answered from their ledgers in --sites, "
            "where nothing was spent anew"
        )
