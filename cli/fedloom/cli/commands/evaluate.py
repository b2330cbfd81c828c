"""`fedloom evaluate`: score an adapter folder on labelled records."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import click

_RESAMPLES = 1000
_IN_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "accuracy": "part of the records that come out right",
        "loss": "mean negative log-likelihood of the right answer, in nats; 0 is best",
        "macro_f1": "mean over the classes of F1, so that a rare class counts like a common one",
        "ece": "how far stated confidence lies from how often it is right (calibration); 0 is best",
    }
)


@click.command("evaluate")
@click.argument("adapter", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="CSV, JSONL, Parquet.")
@click.option("--model", required=True, help="Base model: a folder or a hub id.")
@click.option("--text", default="text", show_default=True, help="Column of the text.")
@click.option("--label", default="label", show_default=True, help="Column of the label.")
@click.option("--messages", help="Column of chats, in place of text and label.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    adapter: Path,
    data: Path,
    model: str,
    text: str,
    label: str,
    messages: str | None,
    as_json: bool,
) -> None:
    """Score the PEFT folder ADAPTER, with bootstrap 95 % intervals."""
    from fedloom.server.evaluator.standalone import evaluate_folder
    from fedloom.shared.data.records import RecordSource
    from fedloom.shared.model.base import resolve_model
    from fedloom.shared.words import count

    scores = evaluate_folder(
        adapter,
        resolve_model(model),
        RecordSource(path=data, text=text, label=label, messages=messages),
        resamples=_RESAMPLES,
    )
    found = scores.model_dump(exclude_none=True)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"{count(found.pop('records'), 'record')} of {data}; in brackets a 95 % interval")
    for name, figure in found.items():
        interval = f"[{figure['low']:.4f}, {figure['high']:.4f}]"
        click.echo(f"  {name:<9} {figure['value']:.4f}  {interval}  {_IN_WORDS[name]}")
