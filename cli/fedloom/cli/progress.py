"""Progress on a terminal as a bar, elsewhere as plain lines."""

import logging
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
    """Show a study's progress, and what the coordinator has to note, while the block runs."""
    with _noted_on(console), _shown_on(console) as progress:
        yield progress


@contextmanager
def _shown_on(console: Console) -> Iterator[Progress]:
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


class _Notes(logging.Handler):
    """Prints what is logged between the lines of progress, or above its bars."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        text = f"note: {record.getMessage()}"
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _noted_on(console: Console) -> Iterator[None]:
    logger, handler = logging.getLogger("fedloom.server"), _Notes(console)
    logger.addHandler(handler)
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = before
        logger.removeHandler(handler)


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
