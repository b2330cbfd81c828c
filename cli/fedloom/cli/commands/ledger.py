"""`fedloom ledger`: what a site has spent, for its steward and for an auditor."""

from pathlib import Path
from re import fullmatch
from typing import TYPE_CHECKING

import click

from fedloom.cli.site_file import SITE
from fedloom.shared.words import count

if TYPE_CHECKING:
    from fedloom.client.ledger.chain import Chain
    from fedloom.client.ledger.ledger import Ledger
    from fedloom.client.ledger.spending import Spent
    from fedloom.client.site.config import SiteConfig


@click.group("ledger")
def command() -> None:
    """Show, verify or export what a site has spent."""


@command.command("show")
@SITE
def show(site: Path) -> None:
    """Verify the ledger of SITE, and show what it adds up to."""
    from fedloom.client.site.policy.document import read_policy

    config, ledger = _open(site)
    budget = read_policy(config.policy).budget
    for line in _lines(ledger.chain(), budget.delta):
        click.echo(line)
    click.echo(f"allowed  epsilon {budget.epsilon:.4g}")


@command.command("export")
@SITE
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file to write.")
def export(site: Path, out: Path) -> None:
    """Write the ledger of SITE as JSON that its public key verifies."""
    from fedloom.client.ledger.audit import LedgerExport
    from fedloom.shared.errors import LedgerError
    from fedloom.shared.files import write_durably

    _, ledger = _open(site)
    if out.exists():
        raise LedgerError(f"{out}: exists already, expected a new file")
    found = LedgerExport.of(ledger)
    write_durably(out, found.model_dump_json(indent=1).encode(), mode=0o600)
    entries = count(len(found.entries), "entry", "entries")
    click.echo(f"wrote {out}: {entries}; ledger key {found.public_key}")


@command.command("verify")
@click.argument("exported", type=click.Path(path_type=Path))
@click.option("--key", required=True, help="The site's ledger key, as the site told it.")
@click.option("--delta", default=1e-5, show_default=True, help="At which epsilon is shown.")
def verify(exported: Path, key: str, delta: float) -> None:
    """Verify a file that `export` wrote, with the public key alone."""
    from fedloom.client.ledger.audit import verify_export
    from fedloom.shared.errors import LedgerError

    if not fullmatch("[0-9a-fA-F]{64}", key):
        raise LedgerError(f"--key: {len(key)} characters, expected the 64 hex digits of a key")
    chain = verify_export(exported, public_key=key.lower())
    click.echo("whole, and signed by that key; compare the head with the coordinator's")
    for line in _lines(chain, delta):
        click.echo(line)


@command.command("void")
@SITE
@click.argument("task")
def void(site: Path, task: str) -> None:
    """Take back the reservation TASK, whose update was not released.

    For a steward who knows that training broke off for good. It stays in the ledger, and so
    does the key of its draws: if the task comes again, it is charged anew and draws the same.
    """
    _, ledger = _open(site)
    with ledger.held():
        charge = ledger.void(task)
    click.echo(
        f"voided round {charge.round} of plan {charge.plan[:12]}: {count(charge.steps, 'step')}"
    )


def _open(path: Path) -> "tuple[SiteConfig, Ledger]":
    from fedloom.client.site.config import read_site_config
    from fedloom.client.site.opening import ledger_of

    config = read_site_config(path)
    return config, ledger_of(config)


def _lines(chain: "Chain", delta: float) -> list[str]:
    from fedloom.client.ledger.spending import spent_of

    lines = [
        f"site     {chain.opening.site}",
        f"key      {chain.opening.public_key}",
        f"head     {chain.length} {chain.head.digest}",
        f"spent    {_in_words(spent_of(chain.story), delta)}",
    ]
    standing = chain.story.standing
    for plan in dict.fromkeys(entry.charge.plan for entry in standing):
        of_plan = [entry for entry in standing if entry.charge.plan == plan]
        steps = sum(entry.charge.steps for entry in of_plan)
        waiting = [entry for entry in of_plan if entry.event == "reserved"]
        tasks = "".join(f"; reserved, not released: {entry.charge.task}" for entry in waiting)
        measured = sum(entry.charge.metric_noise is not None for entry in of_plan)
        told = f", held-out counts told in {measured}" if measured else ""
        trained = f"{count(len(of_plan), 'round')}, {count(steps, 'step')}"
        lines.append(f"  plan {plan[:12]}  {trained}{told}{tasks}")
    return lines


def _in_words(spent: "Spent", delta: float) -> str:
    from fedloom.shared.privacy.accounting import ACCOUNTANTS

    if not spent.steps:
        return "nothing"
    units, steps = ", ".join(sorted(spent.units)), count(spent.steps, "step")
    if len(spent.units) > 1:
        return f"{steps} by {units}: no one epsilon covers them"
    if spent.without_privacy:
        return f"{steps}, some without privacy: no epsilon covers them"
    epsilon = ACCOUNTANTS["prv"](spent.history, delta)
    seeded = "; SEEDED: NOT PRIVATE" if spent.seeded else ""
    return (
        f"epsilon {epsilon:.4g}, delta {delta:g} for each {units}, add-or-remove-one-unit, "
        f"accountant prv, {steps}{seeded}"
    )
