"""`fedloom release`: decide whether a run's adapter may leave, and write what came of it."""

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

if TYPE_CHECKING:
    from fedloom.server.release.decision import Decision, Override

_PATH = click.Path(path_type=Path)
HELD = 3


class _Given(TypedDict):
    out: Path | None
    key: Path | None
    override: tuple[str, ...]
    by: str | None
    reason: str | None
    evaluation: Path | None


@click.command("release")
@click.argument("run", type=_PATH)
@click.option("--out", type=_PATH, help="New folder (RUN/release, or RUN/held-TIME).")
@click.option("--key", type=_PATH, help="The coordinator's signing key (see docs/release.md).")
@click.option("--evaluation", type=_PATH, help="Another than RUN/evaluation.json.")
@click.option("--override", multiple=True, metavar="RULE", help="A rule not to be held by.")
@click.option("--by", help="Who overrides.")
@click.option("--reason", help="Why.")
@click.pass_context
def command(context: click.Context, run: Path, **given: Unpack[_Given]) -> None:
    """Decide by what RUN promised before it trained, and write a signed folder.

    Exit code 3: held; the folder is then a record of the decision, without the adapter.
    """
    overrides = _overrides(given["override"], given["by"], given["reason"])
    from fedloom.server.release.folder import coordinator_key, write_release
    from fedloom.server.report.writing import write_page
    from fedloom.server.run.folder import RunFolder

    folder = RunFolder(run)
    key = coordinator_key(folder, given["key"])
    written = write_release(
        folder, key, out=given["out"], overrides=overrides, evaluation=given["evaluation"]
    )
    if given["evaluation"] is None:
        write_page(folder, written.decision)
    show(written.decision)
    click.echo(f"signed by {key.public}; tell this key by another way than the folder")
    if written.decision.released:
        click.echo(f"released: {written.folder}")
        return
    click.echo(f"record: {written.folder}")
    click.echo(held_line(written.decision), err=True)
    context.exit(HELD)


def show(decision: "Decision") -> None:
    """One line for each rule, and one for each that was overridden."""
    from fedloom.shared.printable import printable

    width = max(len(rule.name) for rule in decision.rules)
    for rule in decision.rules:
        value = "" if rule.value is None else f"{rule.value:.4g}"
        known = rule.low is not None and rule.high is not None
        interval = f" [{rule.low:.4g}, {rule.high:.4g}]" if known else ""
        told = ", ".join(filter(None, (f"{value}{interval}", rule.threshold, rule.note)))
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


def _overrides(
    rules: tuple[str, ...], by: str | None, reason: str | None
) -> "tuple[Override, ...]":
    if bool(rules) != bool(by and by.strip()) or bool(rules) != bool(reason and reason.strip()):
        raise click.UsageError("give --override RULE, --by NAME and --reason TEXT together")
    if not rules:
        return ()
    from pydantic import ValidationError

    from fedloom.server.release.decision import Override, now
    from fedloom.shared.config.problems import explain
    from fedloom.shared.errors import ReleaseError

    try:
        return tuple(
            Override.model_validate({"rule": rule, "by": by, "reason": reason, "at": now()})
            for rule in rules
        )
    except ValidationError as error:
        raise ReleaseError(f"--override: {explain(error, Override)[0]}") from error
