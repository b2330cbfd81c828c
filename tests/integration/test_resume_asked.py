"""`simulate --resume RUN` alone goes on with just what RUN was asked when it began."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedloom.cli.main import cli
from fedloom.client.ledger.ledger import Ledger
from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.shared.errors import RunFolderError
from tests.support.stopping import StoppingExecutor
from tests.support.tiny import write_federation

SUITE = '[suite]\nname = "ours"\n[audits.validation]\nresamples = 100\n'
ROUNDS = 2
# Two sites say hello and train two rounds; the last of these jobs is never done.
LAST_JOB = 2 + 2 * ROUNDS
Fedloom = Callable[..., Result]


@pytest.fixture
def federation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.toml").write_text(SUITE, encoding="utf-8")
    return write_federation(tmp_path, sites=2, rounds=ROUNDS, more='suite = "suite.toml"')


@pytest.fixture
def fedloom(federation: Path, monkeypatch: pytest.MonkeyPatch) -> Fedloom:
    def run(*options: str, stop: int | None = None) -> Result:
        @contextmanager
        def one_process(**_: object) -> Iterator[StoppingExecutor]:
            yield StoppingExecutor(stop)

        monkeypatch.setattr("fedloom.simulation.federation.worker_pool", one_process)
        done = CliRunner().invoke(cli, ["simulate", str(federation), *options])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


def begun_and_stopped(fedloom: Fedloom, *options: str) -> None:
    done = fedloom("--out", "run", *options, stop=LAST_JOB)
    assert done.exit_code == 130 and "--resume run goes on" in done.output
    assert not Path("run/report.json").exists()


def arms() -> list[str]:
    report = json.loads(Path("run/report.json").read_text())
    return [arm["name"] for arm in report["evaluation"]][3:]


def test_arms_are_remembered_and_may_be_added(federation: Path, fedloom: Fedloom) -> None:
    begun_and_stopped(fedloom, "--compare", "non-private")
    assert fedloom("--resume", "run").exit_code == 0
    assert arms() == ["non-private"]
    omitted = json.loads(Path("run/report.json").read_text())["omitted"]
    assert len(omitted) == 1 and "each site training alone" in omitted[0]
    # Once more, stopped before the first of the added arms has a plan.
    arms_before = len(list(Path("run/arms").iterdir()))
    (Path("run/arms/alone-site0")).mkdir()
    Path("run/arms/alone-site0/release.toml").write_text("", encoding="utf-8")
    assert fedloom("--resume", "run", "--compare", "all", stop=5).exit_code == 130
    assert len(list(Path("run/arms").iterdir())) == arms_before + 1
    assert fedloom("--resume", "run", "--compare", "none").exit_code == 0
    assert arms() == ["non-private", "alone-site0", "alone-site1"]


def test_without_arms_there_are_none_later(fedloom: Fedloom) -> None:
    begun_and_stopped(fedloom)
    assert fedloom("--resume", "run").exit_code == 0
    assert arms() == []


def test_a_suite_that_was_edited_is_said_and_one_that_came_later_does_not_count(
    federation: Path, fedloom: Fedloom
) -> None:
    begun_and_stopped(fedloom)
    suite = federation.with_name("suite.toml")
    suite.write_text(SUITE.replace("ours", "mine"), encoding="utf-8")
    said = fedloom("--resume", "run").output
    assert f"note: suite {suite}: changed since the run began: run/suite.toml counts" in said
    assert Evaluation.read(Path("run/evaluation.json")).suite == "ours"
    # Wrong by now, which is nothing to a run that has its own.
    suite.write_text("[audits.zzz]\n", encoding="utf-8")
    assert "cannot be read any more" in fedloom("--resume", "run").output
    shutil.rmtree("run")
    federation.write_text(federation.read_text().replace('suite = "suite.toml"', ""))
    begun_and_stopped(fedloom)
    federation.write_text(
        federation.read_text().replace("[evaluation]", '[evaluation]\nsuite = "suite.toml"')
    )
    assert "this run began without one" in fedloom("--resume", "run").output
    assert not Path("run/evaluation.json").exists()


def test_sites_that_outlast_the_run_are_remembered(fedloom: Fedloom) -> None:
    """Else the later rounds are charged to ledgers that the next run does not look at."""
    begun_and_stopped(fedloom, "--sites", "kept")
    with pytest.raises(RunFolderError, match=r"began with those in .*kept, expected no others"):
        fedloom("--resume", "run", "--sites", "others")
    assert fedloom("--resume", "run").exit_code == 0
    assert not Path("run/sites").exists() and not Path("others").exists()
    for site in ("site0", "site1"):
        entries = Ledger(Path("kept") / site / "state").entries()
        charged = [entry.charge.round for entry in entries if entry.event == "reserved"]
        assert charged == list(range(1, ROUNDS + 1))
    assert fedloom("--resume", "run", "--sites", "kept").exit_code == 0
