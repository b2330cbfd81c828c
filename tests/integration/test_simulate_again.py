"""`fedloom simulate --sites` as a newcomer types it, twice, and what it says."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedloom.cli.main import cli
from fedloom.client.app import make_client_app
from fedloom.client.ledger.ledger import Ledger
from fedloom.client.site.directory import SiteDirectory
from fedloom.simulation.executors.serial import SerialExecutor
from fedloom.simulation.site_app import in_process
from tests.support.tiny import write_federation

SITES = ("site0", "site1")
AGAIN = "note: this plan was run before: site0, site1 answered from their ledgers"


@contextmanager
def one_process(**_: object) -> Iterator[SerialExecutor]:
    yield SerialExecutor(make_client_app(in_process(SiteDirectory())))


@pytest.fixture
def federation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its commands run in this process, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fedloom.simulation.federation.worker_pool", one_process)
    return write_federation(tmp_path, sites=len(SITES), rounds=2)


def fedloom(*arguments: object) -> str:
    done = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert [line for line in done.output.splitlines() if line != line.rstrip()] == []
    return done.output


def entries(site: str) -> int:
    return len(Ledger(Path("kept") / site / "state").entries())


def test_the_same_plan_again_is_answered_from_the_ledgers_and_says_so(federation: Path) -> None:
    first = fedloom("simulate", federation, "--out", "one", "--sites", "kept")
    assert "2 sites, plan" in first and "round 1: 2 of 2 sites" in first
    assert "note: this plan was run before" not in first
    before = [entries(site) for site in SITES]
    again = fedloom("simulate", federation, "--out", "two", "--sites", "kept")
    assert AGAIN in again and "nothing was spent anew" in again
    assert [entries(site) for site in SITES] == before
    # What was trained anew in an own folder is not said to come from a ledger.
    assert "this plan was run before" not in fedloom("simulate", federation, "--out", "three")


def test_another_plan_that_is_trained_anew_is_not_said_to_come_from_a_ledger(
    federation: Path,
) -> None:
    fedloom("simulate", federation, "--out", "one", "--sites", "kept")
    for policy in Path("kept").glob("*/policy.toml"):
        text = re.sub(r"(?m)^epsilon = .*$", "epsilon = 1000.0", policy.read_text())
        policy.write_text(text, encoding="utf-8")
    federation.write_text(federation.read_text().replace('name = "tiny"', 'name = "other"'))
    other = fedloom("simulate", federation, "--out", "two", "--sites", "kept")
    assert "round 2: 2 of 2 sites" in other and "run before" not in other


def test_a_site_that_began_anew_is_not_said_to_have_answered_from_its_ledger(
    federation: Path,
) -> None:
    fedloom("simulate", federation, "--out", "one", "--sites", "kept")
    for path in (Path("kept") / "site1").rglob("*"):
        if path.is_file():
            path.unlink()
    again = fedloom("simulate", federation, "--out", "two", "--sites", "kept")
    assert "run before: site0 answered" in again


def test_the_figures_of_an_evaluation_are_told_in_words(federation: Path) -> None:
    fedloom("simulate", federation, "--out", "one")
    data, model = federation.with_name("site0.csv"), federation.with_name("model")
    said = fedloom("evaluate", "one/adapter", "--data", data, "--model", model)
    assert "in brackets a 95 % interval" in said.splitlines()[0]
    words = {"accuracy": "come out right", "loss": "nats", "macro_f1": "mean over the classes"}
    for name, meaning in (words | {"ece": "calibration"}).items():
        (line,) = [line for line in said.splitlines() if line.split()[0] == name]
        assert meaning in line


def test_a_plan_is_shown_without_blanks_at_the_ends_of_lines(federation: Path) -> None:
    assert "2 steps each" in fedloom("plan", federation)
