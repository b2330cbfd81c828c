"""`fedloom verify`: check a release with public keys alone."""

from pathlib import Path
from re import fullmatch
from typing import TYPE_CHECKING

import click

from fedloom.cli.commands.release import HELD
from fedloom.cli.releasing import held_line, show

if TYPE_CHECKING:
    from fedloom.server.release.decision import Decision

_MOST_BYTES = 1024
UNKNOWN_SIGNER = 4


@click.command("verify")
@click.argument("release", type=click.Path(path_type=Path))
@click.option(
    "--coordinator",
    help="The coordinator's public key, or a file of it, as the coordinator told it.",
)
@click.option(
    "--site-key",
    "site_keys",
    multiple=True,
    metavar="SITE=KEY",
    help="The key of a site's ledger, as the site told it (fedloom ledger show).",
)
@click.pass_context
def command(
    context: click.Context, release: Path, coordinator: str | None, site_keys: tuple[str, ...]
) -> None:
    """Check every file, signature and figure of the folder RELEASE.

    Exit code 1: something is wrong, one line each. 3: whole, but a record of a release that was
    held. 4: whole, but without --coordinator only the folder says who signed it.
    """
    from fedloom.server.release.verify import verify_release
    from fedloom.shared.printable import printable

    known = None if coordinator is None else _key(coordinator, "--coordinator")
    verdict = verify_release(release, coordinator=known, site_keys=_by_site(site_keys))
    if verdict.decision is None:
        for problem in verdict.problems:
            click.echo(f"fedloom: {printable(problem)}", err=True)
        context.exit(1)
    _say(verdict.decision, verdict.notes)
    _say_who(verdict.decision, str(verdict.signer), told=known is not None)
    if not verdict.decision.released:
        click.echo(held_line(verdict.decision), err=True)
        context.exit(HELD)
    if known is None:
        context.exit(UNKNOWN_SIGNER)


def _say(decision: "Decision", notes: tuple[str, ...]) -> None:
    show(decision)
    click.echo(f"adapter {decision.evidence.adapter_sha256}")
    click.echo(f"plan    {decision.evidence.plan_sha256}")
    for note in notes:
        click.echo(f"not checked: {note}")


def _say_who(decision: "Decision", signer: str, *, told: bool) -> None:
    if told:
        click.echo(f"signed by the coordinator, {signer}")
        click.echo(f"whole: {decision.outcome} on {decision.decided}")
        return
    click.echo(
        f"signed by {signer}: only this folder says that this is the coordinator; give the key "
        "that the coordinator told you as --coordinator"
    )
    click.echo(
        f"whole, but only the folder says who signed: {decision.outcome} on {decision.decided}"
    )


def _by_site(given: tuple[str, ...]) -> dict[str, str]:
    pairs = (each.partition("=") for each in given)
    return {name: _key(key, f"--site-key {name}") for name, _, key in pairs}


def _key(given: str, source: str) -> str:
    from fedloom.shared.errors import ReleaseError

    text, path = given.strip(), Path(given)
    if fullmatch("[0-9a-fA-F]{64}", text) is None and path.is_file():
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode("ascii", "replace").strip()
    if fullmatch("[0-9a-fA-F]{64}", text) is None:
        raise ReleaseError(f"{source}: expected the 64 hex digits of a public key, or a file of it")
    return text.lower()
