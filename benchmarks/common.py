"""What the benchmarks of training share: measuring in turn, tables, JSON."""

import json
import platform
import statistics
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from fedloom.shared.quiet import quiet_libraries

Work = Callable[[], object]
Times = Mapping[str, Sequence[float]]


def parser_of(doc: str | None, *, json_name: str) -> ArgumentParser:
    """Options that every benchmark has; it runs on one thread from here on."""
    torch.set_num_threads(1)
    quiet_libraries()
    parser = ArgumentParser(description=doc)
    parser.add_argument("--json", type=Path, default=Path(json_name), help="where figures go")
    parser.add_argument("--repeats", type=int, default=5)
    return parser


def in_turn(works: Mapping[str, Work], *, repeats: int) -> Times:
    """Seconds of each work, A A B B C C A A …, of which the first of a pair is not timed.

    It pays for the memory that the work before had given back. Processor time of this process,
    which runs one thread: other work on the machine does not lengthen it.
    """
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            work()
            found[name].append(seconds(work))
    return found


def seconds(work: Work) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def ratios(times: Times, *, to: str) -> dict[str, float]:
    """Each work's time over that of `to` in the same turn, the median over turns."""
    return {
        name: statistics.median(own / base for own, base in zip(column, times[to], strict=True))
        for name, column in times.items()
    }


def medians(times: Times) -> dict[str, float]:
    return {name: statistics.median(column) for name, column in times.items()}


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The first column to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *cells[1:]]))
    print(flush=True)


def write_json(path: Path, found: object) -> None:
    about = {"torch": torch.__version__, "threads": torch.get_num_threads(), "cpu": _processor()}
    text = json.dumps({"machine": about, "found": found}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{sys.platform} {platform.machine()} {names[0] if names else ''}".strip()
