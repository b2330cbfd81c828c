"""FedLoom's in-process Grid against `flwr run` with Ray: time and memory for trivial clients.

Both run the same two apps of `benchmarks/trivial`, alternately, in processes of their own. Time
is wall time of the whole command, memory the peak of the summed resident sizes of all processes
that it started (a SuperLink that detaches itself included). Prints ratios and writes JSON.
Memory against sites is measured for the in-process Grid at a tenth of the sites as well.

    python benchmarks/grid.py [--sites 1000] [--repeats 3] [--json grid.json]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

APP = Path(__file__).parent / "trivial"
ROUNDS = 5
CONNECTION = """
[superlink]
default = "bench"
[superlink.bench]
address = ":local:"
options.num-supernodes = {sites}
"""


@dataclass(frozen=True, kw_only=True)
class Cost:
    seconds: float
    peak_megabytes: float


def in_process(sites: int) -> None:
    """One run on the in-process Grid; what the child process executes."""
    sys.path.insert(0, str(APP))
    from flwr.app import Context, RecordDict
    from trivial import client, server

    from fedloom.simulation.executors.serial import SerialExecutor
    from fedloom.simulation.grid import InProcessGrid

    grid = InProcessGrid({node: {} for node in range(2, sites + 2)}, SerialExecutor(client))
    server(grid, Context(1, 0, {}, RecordDict(), {"rounds": ROUNDS, "sites": sites}))


def time_in_process(sites: int) -> Cost:
    command = [sys.executable, __file__, "--inner", "--sites", str(sites)]
    return _measured(lambda: _checked(command, sites, env=dict(os.environ)))


def time_flower(sites: int) -> Cost:
    """`flwr run` with its own SuperLink, which is stopped afterwards."""
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "config.toml").write_text(CONNECTION.format(sites=sites), encoding="utf-8")
        env = {
            **os.environ,
            "FLWR_HOME": home,
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        flwr = str(Path(sys.executable).parent / "flwr")
        before = set(psutil.pids())
        try:
            command = [flwr, "run", str(APP), "--stream", "--run-config", f"sites={sites}"]
            return _measured(lambda: _checked(command, sites, env=env))
        finally:
            _stop_all(before)


def _checked(command: list[str], sites: int, *, env: dict[str, str]) -> None:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    wanted = f"ROUND {ROUNDS}: {sites} of {sites} replies"
    if wanted not in done.stdout + done.stderr:
        raise SystemExit(
            f"{command[0]}: did not finish\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )


def _measured(run: Callable[[], None]) -> Cost:
    before = set(psutil.pids())
    peak, stop = [0.0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(before, peak, stop))
    watcher.start()
    began = time.monotonic()
    try:
        run()
    finally:
        seconds = time.monotonic() - began
        stop.set()
        watcher.join()
    return Cost(seconds=seconds, peak_megabytes=peak[0] / 1e6)


def _watch(before: set[int], peak: list[float], stop: threading.Event) -> None:
    while not stop.wait(0.1):
        peak[0] = max(peak[0], sum(_resident(pid) for pid in set(psutil.pids()) - before))


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _stop_all(before: set[int]) -> None:
    # The SuperLink that `flwr run` starts detaches itself and outlives the command.
    for pid in set(psutil.pids()) - before:
        try:
            process = psutil.Process(pid)
            if any(word in " ".join(process.cmdline()) for word in ("flower-", "flwr", "ray")):
                process.kill()
        except psutil.Error:
            continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("grid.json"))
    parser.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inner:
        in_process(options.sites)
        return
    rows: dict[str, list[Cost]] = {"in-process": [], "in-process, a tenth": [], "flwr run": []}
    for _ in range(options.repeats):
        rows["in-process"].append(time_in_process(options.sites))
        rows["in-process, a tenth"].append(time_in_process(options.sites // 10))
        rows["flwr run"].append(time_flower(options.sites))
    _report(options.sites, rows, options.json)


def _report(sites: int, rows: dict[str, list[Cost]], out: Path) -> None:
    middle = {
        name: Cost(
            seconds=statistics.median(cost.seconds for cost in costs),
            peak_megabytes=statistics.median(cost.peak_megabytes for cost in costs),
        )
        for name, costs in rows.items()
    }
    ours, tenth, theirs = middle["in-process"], middle["in-process, a tenth"], middle["flwr run"]
    ratios = {
        "time, flwr run / in-process": theirs.seconds / ours.seconds,
        "memory, flwr run / in-process": theirs.peak_megabytes / ours.peak_megabytes,
        "memory, all sites / a tenth of them": ours.peak_megabytes / tenth.peak_megabytes,
    }
    for name, cost in middle.items():
        print(f"{name:<22}{cost.seconds:8.1f} s {cost.peak_megabytes:8.0f} MB")
    for name, ratio in ratios.items():
        print(f"{name:<38}{ratio:6.2f}")
    raw = {name: [asdict(cost) for cost in costs] for name, costs in rows.items()}
    found = {"sites": sites, "rounds": ROUNDS, "ratios": ratios, "runs": raw}
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
