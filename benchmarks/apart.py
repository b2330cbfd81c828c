"""Works measured in turn, each in a process of its own.

In one process they would share an allocator, and with it what page faults one leaves to the next.
"""

import ctypes
import gc
import multiprocessing
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from benchmarks.common import Times, Work, seconds

# Made in the process that measures it, so it must pickle; its work is measured.
Setup = Callable[[], Work]
_RESET_PEAK = "5"


@dataclass(frozen=True, kw_only=True)
class Costs:
    """By work: seconds of each turn, and the peak of resident memory above what was resident
    when the setup was done (Linux's `VmHWM`), in megabytes."""

    times: Times
    megabytes: Mapping[str, float]


def measure_apart(setups: Mapping[str, Setup], *, repeats: int) -> Costs:
    """Each work once untimed, then then A B C A B C …, in processor time."""
    with ExitStack() as undo:
        workers = {name: undo.enter_context(_Worker(setup)) for name, setup in setups.items()}
        for worker in workers.values():
            worker.turn()
        times: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(repeats):
            for name, worker in workers.items():
                times[name].append(worker.turn())
        return Costs(times=times, megabytes={name: at.peak() for name, at in workers.items()})


class _Worker:
    """A process that does one work when asked."""

    def __init__(self, setup: Setup) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._connection, self._theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(self._theirs, setup), daemon=True)

    def __enter__(self) -> "_Worker":
        self._process.start()
        # Or the end of the process would not be seen as the end of what it sends.
        self._theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join()

    def turn(self) -> float:
        return self._asked("turn")

    def peak(self) -> float:
        return self._asked("peak")

    def _asked(self, question: str) -> float:
        try:
            self._connection.send(question)
            return float(self._connection.recv())
        except (EOFError, OSError) as error:
            raise SystemExit("a measured process ended early, expected an answer") from error


def _serve(connection: Connection, setup: Setup) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    work = setup()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = _kilobytes("VmRSS")
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    answers = {
        "turn": lambda: seconds(work),
        "peak": lambda: (_kilobytes("VmHWM") - before) * 1024 / 1e6,
    }
    # Until the other end is closed.
    with suppress(EOFError):
        while True:
            connection.send(answers[connection.recv()]())


def _kilobytes(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))
