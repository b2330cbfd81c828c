"""A site without budget stops, the others go on, and everything that is written says so."""

import json
import logging
from pathlib import Path

import pytest

from fedloom.client.ledger.entries import charge_of
from fedloom.client.ledger.ledger import Ledger
from fedloom.server.report.facts import Stop
from fedloom.server.report.schema import Report
from fedloom.server.run.budgets import read_budgets
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.heads import read_heads
from fedloom.shared.config.federation import read_federation
from fedloom.shared.errors import QuorumError
from fedloom.simulation.asked import Asked, asked_file
from fedloom.simulation.evaluating import study_corpus
from fedloom.simulation.executors.serial import SerialExecutor
from fedloom.simulation.federation import RunOptions, run_federation
from fedloom.simulation.prepare import Prepared, prepare
from fedloom.simulation.progress import silent
from fedloom.simulation.study import StudyOptions, run_study
from tests.support.faulty import VARIABLE, FaultyApp
from tests.support.plans import a_task
from tests.support.tiny import write_federation

ROUNDS = 3


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    path = write_federation(tmp_path, rounds=ROUNDS, privacy="noise_multiplier = 0.8\ndelta = 1e-4")
    return prepare(read_federation(path))


def interrupted(prepared: Prepared, folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends in its second round, for want of a quorum."""

    def lose_two(number: int, *_: object) -> None:
        if number == 1:
            monkeypatch.setenv(VARIABLE, "site0:raise,site1:raise")

    asked = Asked(corpus_sha256=study_corpus(prepared, None).sha256)
    files = {asked_file(folder): asked.to_toml()}
    options = RunOptions(observers=(lose_two,), asked=files)
    with pytest.raises(QuorumError):
        run_federation(prepared, folder, SerialExecutor(FaultyApp()), options)
    monkeypatch.setenv(VARIABLE, "")


def spend_elsewhere(folder: RunFolder, site: str) -> None:
    """Charge a site's ledger for a round of another plan, as another coordinator would."""
    Ledger(folder.path / "sites" / site / "state").reserve(charge_of(a_task()))


def resumed(prepared: Prepared, folder: RunFolder) -> Report:
    executor = SerialExecutor(FaultyApp())
    return run_study(prepared, folder, executor, silent(), StudyOptions(resume=True))


def test_a_first_run_is_told_nothing_and_keeps_every_budget(
    prepared: Prepared, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Catches a demo that became longer, and a budget that is not at hand for the report."""
    folder = RunFolder(tmp_path / "run")
    with caplog.at_level(logging.INFO, logger="fedloom.server"):
        run_federation(prepared, folder, SerialExecutor(FaultyApp()))
    lines = [record for record in caplog.records if "site site" in record.getMessage()]
    assert [record.levelname for record in lines] == ["INFO"] * 3
    budgets = read_budgets(folder.budgets)
    assert [budget.epsilon_spent for budget in budgets.values()] == [0.0] * 3
    for site in prepared.plan.sites:
        assert budgets[site.name].epsilon_allowed == pytest.approx(site.epsilon)


def test_a_site_without_budget_stops_and_the_report_says_so(
    prepared: Prepared,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = RunFolder(tmp_path / "run")
    interrupted(prepared, folder, monkeypatch)
    spend_elsewhere(folder, "site1")
    caplog.clear()
    report = resumed(prepared, folder)
    told = [record.getMessage() for record in caplog.records if record.name == "fedloom.server"]
    assert [line.split(":")[0] for line in told] == ["site site0", "site site1", "site site2"]
    assert all("spent" in line and "left, at delta 0.0001 for each record" in line for line in told)
    assert report.stops == (Stop(site="site1", round=3, rule="epsilon"),)
    said = "site1 stopped at round 3: its ledger has no budget left for it (rule epsilon)"
    for path in (folder.report_html, folder.report_markdown):
        assert said in path.read_text(encoding="utf-8")
    assert [entry.accepted for entry in report.rounds] == [3, 3, 2]


def test_the_report_of_a_resumed_run_has_the_newest_budget_and_head(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built from the run folder alone; compared with the sites' own ledgers."""
    folder = RunFolder(tmp_path / "run")
    interrupted(prepared, folder, monkeypatch)
    before = read_budgets(folder.budgets)
    spend_elsewhere(folder, "site1")
    report = resumed(prepared, folder)
    after, heads = read_budgets(folder.budgets), read_heads(folder.heads)
    assert all(
        (after[name].epsilon_spent or 0) > (before[name].epsilon_spent or 0) for name in after
    )
    for site in report.sites:
        assert site.ledger_head is not None
        assert site.ledger_head.digest == heads[site.name].digest
        assert site.epsilon_left is not None and site.epsilon_left >= 0
    whole, stopped = report.sites[0], report.sites[1]
    own = Ledger(folder.path / "sites" / whole.name / "state").head()
    assert (whole.ledger_head.number, whole.ledger_head.digest) == (own.number, own.digest)
    assert whole.epsilon_left == pytest.approx(0.0, abs=1e-4)
    left = after["site1"].epsilon_allowed - (stopped.epsilon_spent or 0)
    assert 0 < left == pytest.approx(stopped.epsilon_left)
    written = json.loads(folder.report_json.read_bytes())
    assert written["sites"][1]["epsilon_left"] == stopped.epsilon_left
