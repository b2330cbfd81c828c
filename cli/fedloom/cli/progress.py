"""Progress on a terminal as a bar, elsewhere as plain lines."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars

from fedloom.simulation.progress import Progress


@contextmanager
def shown_progress(console: Console) -> Iterator[Progress]:
    """Show a study's progress on `console` while the block runs."""
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[said]}", style="dim"),
    )
    with Bars(*columns, console=console) as bars:
        yield _bars(bars)


def _bars(bars: Bars) -> Progress:
    def stage(name: str, steps: int) -> None:
        bars.add_task(name, total=steps, said="")

    def step(said: str) -> None:
        bars.update(bars.task_ids[-1], advance=1, said=said)

    return Progress(stage=stage, step=step)


def _lines(console: Console) -> Progress:
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - began:6.0f}s  {text}", highlight=False, soft_wrap=True)

    return Progress(
        stage=lambda name, steps: say(f"{name}: {steps}" if steps > 1 else name),
        step=lambda said: say(f"  {said}"),
    )
