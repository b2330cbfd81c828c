"""`fedloom audit`: measured privacy beside the promised one."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedloom.cli.running import default_folder, told_how_to_resume
from fedloom.shared.config.values import Section

if TYPE_CHECKING:
    from fedloom.server.evaluator.findings import AuditFindings
    from fedloom.server.run.folder import RunFolder
    from fedloom.shared.config.federation import FederationConfig
    from fedloom.simulation.auditing.asked import PrivacyAuditOptions


class _Asked(Section):
    """All options of the command."""

    federation: Path
    canaries: int | None
    shadows: int | None
    site: str | None
    beside: Path | None
    out: Path | None
    resume: Path | None
    workers: int | None
    online: bool

    def options(self, run: "RunFolder") -> "PrivacyAuditOptions":
        """What is asked; of a resumed audit what was asked before, where nothing else is said."""
        from fedloom.simulation.auditing.asked import PrivacyAuditOptions, options_before

        before = PrivacyAuditOptions() if self.resume is None else options_before(run)
        said = self.model_dump(include=set(PrivacyAuditOptions.model_fields), exclude_none=True)
        if self.beside is not None:
            said["beside"] = self.beside.resolve()
        return before.model_copy(update=said)


@click.command("audit")
@click.argument("federation", type=click.Path(path_type=Path))
@click.option(
    "--canaries",
    type=click.IntRange(min=10),
    help="Records to plant, each in or out by a fair coin (1000).",
)
@click.option(
    "--shadows",
    type=click.IntRange(min=0),
    help="Further runs with other coins, for the attack LiRA (none).",
)
@click.option("--site", help="Plant at this site alone (at all, in turn).")
@click.option(
    "--for",
    "beside",
    type=click.Path(path_type=Path),
    help="A finished run of this federation, whose evaluation gets the findings.",
)
@click.option("--out", type=click.Path(path_type=Path), help="New run folder (runs/NAME-TIME).")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with this run folder.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes (one a core).")
@click.option("--online", is_flag=True, help="Allow the base model to be fetched from the hub.")
def command(**given: object) -> None:
    """Run FEDERATION.toml on this machine with canaries among its records, and say what epsilon
    the adapters of that run rule out.

    The bound holds with 95 % confidence. It can show that a promise is broken, not that it is
    kept. Takes as long as the run itself, and some minutes to look for the canaries; each of
    --shadows takes as long as the run once more. Killed at any point, it goes on with --resume
    RUN, with just the options that it began with.
    """
    asked = _Asked.model_validate(given)
    if asked.out and asked.resume:
        raise click.UsageError("--out and --resume exclude each other")
    from fedloom.server.run.folder import RunFolder
    from fedloom.shared.config.federation import read_federation
    from fedloom.simulation.auditing.attaching import attach
    from fedloom.simulation.auditing.kept import FILE

    config = read_federation(asked.federation)
    folder = asked.resume or asked.out or default_folder(f"audit-{config.federation.name}")
    run = RunFolder(folder)
    if asked.resume is None:
        run.refuse_existing()
    options = asked.options(run)
    findings = _audited(asked, config, run, options)
    if options.beside is not None:
        attach(findings, RunFolder(options.beside))
    _say(findings)
    click.echo(f"findings {run.path / FILE}")


def _audited(
    asked: _Asked, config: "FederationConfig", run: "RunFolder", options: "PrivacyAuditOptions"
) -> "AuditFindings":
    from rich.console import Console

    from fedloom.cli.progress import shown_progress
    from fedloom.server.run.folder import RunFolder
    from fedloom.simulation.auditing.attaching import check_attachable
    from fedloom.simulation.auditing.audit import audit_federation
    from fedloom.simulation.federation import worker_pool
    from fedloom.simulation.prepare import decided_as_before, prepare

    console, resume = Console(stderr=True), asked.resume is not None
    if resume:
        config = decided_as_before(config, run.read_plan())
    console.print(f"run folder {run.path}", highlight=False, soft_wrap=True)
    with (
        told_how_to_resume(run),
        worker_pool(sites=len(config.data.sites), workers=asked.workers) as executor,
        shown_progress(console) as progress,
    ):
        progress.stage("read records, plan", 1)
        prepared = prepare(config, offline=not asked.online)
        progress.step(f"plan {prepared.plan.sha256[:12]}")
        if options.beside is not None:
            check_attachable(RunFolder(options.beside), prepared.plan.sha256)
        return audit_federation(prepared, run, executor, progress, options, resume=resume)


def _say(findings: "AuditFindings") -> None:
    found = {figure.key: figure.value for figure in findings.figures}
    claimed, bound = found.get("epsilon_claimed"), found["epsilon_lower_bound"]
    guesses = f"{found['correct']:.0f} of {found['guesses']:.0f} guesses right"
    promised = "no epsilon is promised" if claimed is None else f"epsilon promised {claimed:.2f}"
    click.echo(f"  claimed   {promised}")
    click.echo(
        f"  measured  epsilon at least {bound:.2f}, with 95 % confidence "
        f"({found['canaries']:.0f} canaries, {guesses})"
    )
    if "lira_auc" in found:
        click.echo(
            f"  attacked  LiRA tells {found['lira_auc']:.0%} of pairs apart, where guessing is "
            f"50%, and finds {found['lira_tpr_at_1_fpr']:.0%} at 1% false alarms"
        )
    if claimed is None:
        return
    if bound > claimed:
        click.echo("  BROKEN: what was measured contradicts the promise")
    elif found["epsilon_most"] < claimed:
        click.echo(
            "  says nothing of the promise: so few canaries could have shown at most epsilon "
            f"{found['epsilon_most']:.2f}"
        )
    else:
        click.echo("  nothing that was measured contradicts the promise")
