"""`fedloom evaluate`: score an adapter folder on labelled records."""

import json
from pathlib import Path

import click

_RESAMPLES = 1000


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
    click.echo(f"{found.pop('records')} records of {data}")
    for name, figure in found.items():
        click.echo(
            f"  {name:<9} {figure['value']:.4f}  [{figure['low']:.4f}, {figure['high']:.4f}]"
        )
