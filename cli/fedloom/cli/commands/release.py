"""`fedloom release`: decide whether a run's adapter may leave, and write what came of it."""

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

if TYPE_CHECKING:
    from fedloom.server.release.decision import Override

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
    from fedloom.cli.releasing import Terms, release

    terms = Terms(
        out=given["out"], key=given["key"], overrides=overrides, evaluation=given["evaluation"]
    )
    if not release(run, terms):
        context.exit(HELD)


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
