"""What `release` and `demo` share: decide, write, show."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fedloom.server.release.decision import Decision, Override


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a run is decided on: by default, with its own evaluation and the key that is its."""

    out: Path | None = None
    key: Path | None = None
    overrides: "tuple[Override, ...]" = ()
    evaluation: Path | None = None


def release(run: Path, terms: Terms) -> bool:
    """Write the signed folder and the run's page again, and say what was decided; whether the
    adapter may leave.

    Raises:
        ReleaseError: the run is not at its end, or a folder is in the way.
    """
    from fedloom.server.release.folder import RELEASE, coordinator_key, write_release
    from fedloom.server.report.writing import write_page
    from fedloom.server.run.folder import RunFolder
    from fedloom.shared.errors import ReleaseError

    folder = RunFolder(run)
    if terms.out is None and (run / RELEASE).exists():
        raise ReleaseError(f"{run / RELEASE}: released before, expected --out to decide again")
    key = coordinator_key(folder, terms.key)
    written = write_release(
        folder, key, out=terms.out, overrides=terms.overrides, evaluation=terms.evaluation
    )
    # The run's page shows what was decided on its own evaluation, in its own folder.
    if terms.evaluation is None and terms.out is None:
        write_page(folder, written.decision)
    show(written.decision)
    click.echo(f"signed by {key.public}; tell this key by another way than the folder")
    if written.decision.released:
        click.echo(f"released: {written.folder}")
        return True
    click.echo(f"record: {written.folder}")
    click.echo(held_line(written.decision), err=True)
    return False


def show(decision: "Decision") -> None:
    """One line for each rule, and one for each that was overridden."""
    from fedloom.shared.printable import printable

    width = max(len(rule.name) for rule in decision.rules)
    for rule in decision.rules:
        value = "" if rule.value is None else f"{rule.value:.4g}"
        known = rule.low is not None and rule.high is not None
        interval = f" [{rule.low:.4g}, {rule.high:.4g}]" if known else ""
        of = "" if rule.records is None else f"n = {rule.records}"
        told = ", ".join(filter(None, (f"{value}{interval}", of, rule.threshold, rule.note)))
        said = f"  {rule.name:<{width}}  {rule.outcome:<12}  {printable(told)}"
        click.echo(said.rstrip())
    for rule, word in decision.overridden:
        who, why = printable(word.by), printable(word.reason)
        click.echo(f"overridden: {rule.name} ({rule.outcome}), by {who} on {word.at}: {why}")


def held_line(decision: "Decision") -> str:
    """The rules that hold an adapter back, in one line."""
    from fedloom.shared.printable import printable

    rules = (f"{rule.name} ({rule.outcome})" for rule in decision.held_by)
    return f"fedloom: held by {printable(', '.join(rules))}"
