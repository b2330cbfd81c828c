"""Real processes, killed without warning at chosen moments; then resumed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fedloom.client.ledger.ledger import Ledger
from fedloom.server.run.journal import Journal
from tests.support.tiny import write_federation

ROUNDS, STEPS, SITES = 3, 50, 3


def fedloom(*arguments: str, cwd: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "fedloom.cli", *arguments],
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    return output


def wait_until(happened: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, "the run ended before the moment to kill it came"
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kill")
    write_federation(
        folder, sites=SITES, rounds=ROUNDS, steps=STEPS, more="curve_records = 0",
        rounds_more="quorum = 3",
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def uninterrupted(home: Path) -> bytes:
    finish(fedloom("simulate", "federation.toml", "--out", "whole", cwd=home))
    return adapter_bytes(home / "whole")


def adapter_bytes(run: Path) -> bytes:
    return (run / "adapter" / "adapter_model.safetensors").read_bytes()


def events(run: Path, number: int) -> set[str]:
    """What has happened at any site in this round."""
    states = [path.parent for path in run.glob("sites/*/state/site.key")]
    entries = [entry for state in states for entry in Ledger(state).entries()]
    return {entry.event for entry in entries if entry.charge.round == number}


def reserved(run: Path, number: int) -> bool:
    """Some site has charged this round, and no checkpoint of it exists yet."""
    return "reserved" in events(run, number)


def released(run: Path, number: int) -> bool:
    return "released" in events(run, number)


def durable(run: Path, number: int) -> bool:
    return (run / "checkpoints" / f"round-{number:04d}.ckpt").exists()


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "before the first round": lambda run: durable(run, 0),
    "while a site trains": lambda run: reserved(run, 2),
    "after a site released": lambda run: released(run, 2),
    "after a round was durable": lambda run: durable(run, 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed_gives_the_same_adapter_and_spends_nothing_twice(
    home: Path, uninterrupted: bytes, moment: str
) -> None:
    run = home / moment.replace(" ", "-")
    process = fedloom("simulate", "federation.toml", "--out", run.name, cwd=home)
    wait_until(lambda: MOMENTS[moment](run), process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    output = finish(fedloom("simulate", "federation.toml", "--resume", run.name, cwd=home))
    assert "SEEDED: NOT PRIVATE" in output
    # One of the libraries warns while it is imported.
    assert "Failed to load" not in output
    assert adapter_bytes(run) == uninterrupted
    assert [entry.accepted for entry in Journal(run / "rounds.jsonl").entries()] == [SITES] * ROUNDS
    for site in range(SITES):
        entries = Ledger(run / "sites" / f"site{site}" / "state").entries()
        charged = [entry.charge.round for entry in entries if entry.event == "reserved"]
        assert charged == list(range(1, ROUNDS + 1))


def findings(run: Path) -> bytes:
    return (run / "privacy-audit.json").read_bytes()


@pytest.mark.slow
def test_a_killed_audit_goes_on_finds_the_same_and_spends_nothing_twice(home: Path) -> None:
    asked = ("audit", "federation.toml", "--canaries", "20", "--shadows", "2")
    finish(fedloom(*asked, "--out", "audited", cwd=home))
    run = home / "killed-audit"
    for moment in (lambda: durable(run, 1), lambda: reserved(run / "shadows" / "1", 2)):
        options = ("--resume", run.name) if run.exists() else ("--out", run.name)
        process = fedloom(*(asked[:2] if run.exists() else asked), *options, cwd=home)
        wait_until(moment, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    finish(fedloom(*asked[:2], "--resume", run.name, cwd=home))
    assert findings(run) == findings(home / "audited")
    for each in (run, run / "shadows" / "1", run / "shadows" / "2"):
        for site in range(SITES):
            entries = Ledger(each / "sites" / f"site{site}" / "state").entries()
            charged = [entry.charge.round for entry in entries if entry.event == "reserved"]
            assert charged == list(range(1, ROUNDS + 1))
