"""The suite in a deployment: on the coordinator's own records, and never the end of a run."""

import os
import stat
from pathlib import Path

import pytest

from fedloom.server.deploy.evaluating import DeployedEvaluation
from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.wanted import WantedRun
from fedloom.server.evaluator.findings import Evaluation
from fedloom.server.initial import initial_adapter
from fedloom.server.report.writing import write_report
from fedloom.server.run.checkpoint import write_checkpoint
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import RoundEntry
from tests.support.reports import a_report
from tests.support.tiny import sentences, write_csv
from tests.support.training import make_plan

SUITE = '[suite]\nname = "ours"\n[records]\npath = "own.csv"\n[audits.validation]\n'


@pytest.fixture
def wanted(tmp_path: Path, tiny_model: Path) -> tuple[RunFolder, WantedRun]:
    plan = make_plan(tiny_model)
    folder = RunFolder(tmp_path / "run")
    folder.create(plan)
    start = initial_adapter(plan, tiny_model)
    for number in (0, plan.rounds.total):
        write_checkpoint(folder.checkpoints, number, start, plan.sha256)
    write_csv(tmp_path / "own.csv", sentences(20, seed=1))
    suite = tmp_path / "suite.toml"
    suite.write_text(SUITE, encoding="utf-8")
    run = WantedRun(
        name="run", plan_sha256=plan.sha256, model=tiny_model, suite=suite, every=2, created=1.0
    )
    return folder, run


def an_entry(number: int) -> RoundEntry:
    return RoundEntry.model_validate(
        {"round": number, "sites": [], "seconds": 1.0, "accepted": 0, "adapter_sha256": "0" * 64}
    )


def test_the_coordinators_own_records_are_what_it_is_measured_on(
    wanted: tuple[RunFolder, WantedRun],
) -> None:
    folder, run = wanted
    found = DeployedEvaluation(folder=folder, wanted=run).at_end()
    assert found is not None
    assert found == Evaluation.read(folder.evaluation)
    assert found.subject.audits[0].figures[0].records == 20


def test_it_is_measured_after_every_k_rounds(
    wanted: tuple[RunFolder, WantedRun], tiny_model: Path
) -> None:
    folder, run = wanted
    audits = DeployedEvaluation(folder=folder, wanted=run)
    start = initial_adapter(folder.read_plan(), tiny_model)
    for number in (1, 2, 3):
        audits.observe(number, start, an_entry(number))
    audits.observe(4, start, None)
    assert [path.name for path in folder.evaluations.glob("round-*")] == ["round-0002.json"]


def test_what_was_measured_is_its_owners_alone(
    wanted: tuple[RunFolder, WantedRun], tiny_model: Path
) -> None:
    """Examples in it, and in the page, show texts of the coordinator's records."""
    folder, run = wanted
    audits = DeployedEvaluation(folder=folder, wanted=run)
    old = os.umask(0)
    try:
        audits.observe(2, initial_adapter(folder.read_plan(), tiny_model), an_entry(2))
        write_report(a_report(), folder, audits.at_end())
    finally:
        os.umask(old)
    made = [folder.evaluation, folder.report_html, folder.evaluations]
    made += folder.evaluations.rglob("*")
    assert {"kept", "round-0002.json"} < {path.name for path in made}
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    # It holds scores alone.
    assert stat.S_IMODE(folder.report_json.stat().st_mode) == 0o644


def test_a_suite_that_cannot_be_run_is_an_event_and_ends_nothing(
    wanted: tuple[RunFolder, WantedRun], tiny_model: Path
) -> None:
    folder, run = wanted
    (folder.path.parent / "own.csv").unlink()
    audits = DeployedEvaluation(folder=folder, wanted=run)
    audits.observe(2, initial_adapter(folder.read_plan(), tiny_model), an_entry(2))
    assert audits.at_end() is None
    events = EventLog.of(folder).events()
    assert [event.kind for event in events] == ["not-evaluated", "not-evaluated"]
    assert "no such file" in events[0].detail


def test_without_a_suite_nothing_is_measured(wanted: tuple[RunFolder, WantedRun]) -> None:
    folder, run = wanted
    plain = DeployedEvaluation(folder=folder, wanted=run.model_copy(update={"suite": None}))
    assert plain.at_end() is None
    assert not EventLog.of(folder).path.exists()
