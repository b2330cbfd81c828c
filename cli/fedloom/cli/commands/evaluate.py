"""`fedloom evaluate`: score an adapter folder, or run a suite of audits on it."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from fedloom.shared.config.values import Section, Unit

if TYPE_CHECKING:
    from fedloom.server.evaluator.sections import RecordsSection

_RESAMPLES = 1000
_IN_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "accuracy": "part of the records that come out right",
        "loss": "mean negative log-likelihood of the right answer, in nats; 0 is best",
        "macro_f1": "mean over the classes of F1, so that a rare class counts like a common one",
        "ece": "how far stated confidence lies from how often it is right (calibration); 0 is best",
    }
)


class _Asked(Section):
    """All options of the command."""

    adapter: Path
    data: Path | None
    model: str
    text: str
    label: str
    messages: str | None
    unit: Unit | None
    suite: Path | None
    against: tuple[Path, ...]
    out: Path | None
    fetch: bool
    as_json: bool

    def records(self) -> "RecordsSection | None":
        """The records that `--data` names."""
        from fedloom.server.evaluator.sections import RecordsSection

        if self.data is None:
            return None
        return RecordsSection(
            path=self.data,
            text=self.text,
            label=self.label,
            messages=self.messages,
            unit=self.unit,
        )


@click.command("evaluate")
@click.argument("adapter", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="CSV, JSONL, Parquet.")
@click.option("--model", required=True, help="Base model: a folder or a hub id.")
@click.option("--text", default="text", show_default=True, help="Column of the text.")
@click.option("--label", default="label", show_default=True, help="Column of the label.")
@click.option("--messages", help="Column of chats, in place of text and label.")
@click.option("--unit", help="Whose each row is: a column, or record (the suite's, else record).")
@click.option("--suite", type=click.Path(path_type=Path), help="Run the audits of SUITE.toml.")
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    multiple=True,
    help="With --suite: another adapter folder to compare with, in pairs.",
)
@click.option("--out", type=click.Path(path_type=Path), help="With --suite: where findings go.")
@click.option("--fetch", is_flag=True, help="With --suite: fetch public benchmarks where missing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(**given: object) -> None:
    """Score the PEFT folder ADAPTER on labelled records, with 95 % intervals.

    With --suite, run the audits of SUITE.toml on it, and write evaluation.json and
    evaluation.html; --data then takes the place of the records that the suite names.
    """
    asked = _Asked.model_validate(given)
    records = asked.records()
    if asked.suite is not None:
        _audit(asked, asked.suite, records)
    elif records is None:
        raise click.UsageError("one of --data and --suite is needed")
    elif asked.against or asked.out or asked.fetch:
        raise click.UsageError("--against, --out and --fetch belong to --suite")
    else:
        _score(asked, records)


def _score(asked: _Asked, records: "RecordsSection") -> None:
    from fedloom.server.evaluator.standalone import evaluate_folder
    from fedloom.shared.data.records import RecordSource
    from fedloom.shared.model.base import resolve_model
    from fedloom.shared.words import count

    source = RecordSource(
        path=records.path,
        text=records.text,
        label=records.label,
        messages=records.messages,
        unit=records.whose,
    )
    model = resolve_model(asked.model)
    scores = evaluate_folder(asked.adapter, model, source, resamples=_RESAMPLES)
    found = scores.model_dump(exclude_none=True)
    if asked.as_json:
        click.echo(json.dumps(found, indent=2))
        return
    records_in_words = count(found.pop("records"), "record")
    units = found.pop("units", None)
    over = f" over {count(units, 'unit')} ({records.whose})" if units else ""
    click.echo(f"{records_in_words} of {records.path}; in brackets a 95 % interval{over}")
    for name, figure in found.items():
        interval = f"[{figure['low']:.4f}, {figure['high']:.4f}]"
        click.echo(f"  {name:<9} {figure['value']:.4f}  {interval}  {_IN_WORDS[name]}")


def _audit(asked: _Asked, suite: Path, records: "RecordsSection | None") -> None:
    from rich.console import Console

    from fedloom.cli.auditing import say_evaluation
    from fedloom.cli.progress import shown_progress
    from fedloom.server.evaluator.alone import Alone, evaluate_alone
    from fedloom.server.evaluator.corpus import Benchmarks
    from fedloom.server.evaluator.suite import read_suite
    from fedloom.server.report.html import render_evaluation
    from fedloom.shared.files import OWNER_ONLY, write_durably
    from fedloom.shared.model.base import resolve_model

    read = read_suite(suite)
    wanted = Alone(
        adapter=asked.adapter,
        model=resolve_model(asked.model),
        out=asked.out or Path("evaluations") / asked.adapter.resolve().parent.name,
        against=asked.against,
        records=records,
        benchmarks=Benchmarks(offline=not asked.fetch),
    )
    with shown_progress(Console(stderr=True)) as progress:
        progress.stage("audit adapters", (1 + len(asked.against)) * len(read.audits))
        found = evaluate_alone(wanted, read, told=progress.step)
    page = wanted.out / "evaluation.html"
    write_durably(page, render_evaluation(found).encode(), mode=OWNER_ONLY)
    if asked.as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    say_evaluation(found)
    click.echo(f"page {page}")
