"""The suite in a deployment: on the coordinator's own records, and never the end of a run."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from fedloom.server.deploy.evaluate_process import main
from fedloom.server.deploy.evaluating import DeployedEvaluation
from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.wanted import WantedRun, write_wanted
from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.evaluator.kept_suite import kept_text
from fedloom.server.evaluator.suite import read_suite
from fedloom.server.initial import initial_adapter
from fedloom.server.report.writing import write_page, write_report
from fedloom.server.run.checkpoint import read_checkpoint, write_checkpoint
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
    suite = tmp_path / "suite.toml"
    suite.write_text(SUITE, encoding="utf-8")
    write_csv(tmp_path / "own.csv", sentences(20, seed=1))
    folder.create(plan, asked={folder.suite: kept_text(read_suite(suite))})
    start = initial_adapter(plan, tiny_model)
    for number in (0, plan.rounds.total):
        write_checkpoint(folder.checkpoints, number, start, plan.sha256)
    run = WantedRun(
        name="run", plan_sha256=plan.sha256, model=tiny_model, suite=suite, every=2, created=1.0
    )
    write_wanted(folder, run)
    return folder, run


def an_entry(number: int) -> RoundEntry:
    return RoundEntry.model_validate(
        {"round": number, "sites": [], "seconds": 1.0, "accepted": 0, "adapter_sha256": "0" * 64}
    )


def test_the_coordinators_own_records_are_what_it_is_measured_on(
    wanted: tuple[RunFolder, WantedRun],
) -> None:
    folder, run = wanted
    assert DeployedEvaluation(folder=folder, wanted=run).at_end()
    assert Evaluation.read(folder.evaluation).subject.audits[0].figures[0].records == 20
    assert not EventLog.of(folder).path.exists()


def test_who_edits_the_suite_while_a_run_trains_changes_nothing(
    wanted: tuple[RunFolder, WantedRun],
) -> None:
    """Else the threshold on a figure is kept, and what is measured is not."""
    folder, run = wanted
    assert run.suite is not None
    before = read_suite(run.suite)
    run.suite.write_text(SUITE + "resamples = 200\n", encoding="utf-8")
    assert DeployedEvaluation(folder=folder, wanted=run).at_end()
    run.suite.unlink()
    assert main(str(folder.path), str(folder.read_plan().rounds.total)) == 0
    (round_file,) = folder.evaluations.glob("round-*.json")
    for file in (folder.evaluation, round_file):
        assert Evaluation.read(file).suite_sha256 == before.sha256


def test_it_is_measured_after_every_k_rounds(wanted: tuple[RunFolder, WantedRun]) -> None:
    folder, run = wanted
    asked: list[int | None] = []

    class Noting(DeployedEvaluation):
        def _run(self, number: int | None) -> bool:
            asked.append(number)
            return True

    audits = Noting(folder=folder, wanted=run)
    start = read_checkpoint(folder.checkpoints, 0, run.plan_sha256)
    for number in (1, 2, 3):
        audits.observe(number, start, an_entry(number))
    audits.observe(4, start, None)
    assert asked == [2]


def test_a_rounds_evaluation_has_a_file_of_its_own(wanted: tuple[RunFolder, WantedRun]) -> None:
    folder, _ = wanted
    assert main(str(folder.path), str(folder.read_plan().rounds.total)) == 0
    assert len(list(folder.evaluations.glob("round-*.json"))) == 1


def _missing(folder: RunFolder, suite: Path) -> None:
    (folder.path.parent / "own.csv").unlink()


def _others(folder: RunFolder, suite: Path) -> None:
    """Records that were chosen once the adapter was known."""
    write_csv(folder.path.parent / "own.csv", sentences(20, seed=2))


def _unreadable(folder: RunFolder, suite: Path) -> None:
    folder.suite.unlink()
    folder.suite.mkdir()


def _altered(folder: RunFolder, suite: Path) -> None:
    """Not by FedLoom: its digest is another."""
    folder.suite.write_text(folder.suite.read_text().replace('"ours"', '"mine"'), encoding="utf-8")


def _too_long(folder: RunFolder, suite: Path) -> None:
    """Nothing is changed: the time is up before it begins."""


def _dead(folder: RunFolder, suite: Path) -> None:
    """No FedLoomError: the run's folder of findings cannot be made."""
    folder.evaluations.write_text("in the way")


def test_what_was_measured_is_its_owners_alone(wanted: tuple[RunFolder, WantedRun]) -> None:
    """Examples in it, and in the page, show texts of the coordinator's records."""
    folder, run = wanted
    total = folder.read_plan().rounds.total
    old = os.umask(0)
    try:
        write_report(a_report(), folder)
        assert main(str(folder.path), str(total)) == 0
        assert DeployedEvaluation(folder=folder, wanted=run).at_end()
        write_page(folder)
    finally:
        os.umask(old)
    made = [folder.evaluation, folder.report_html, folder.evaluations]
    made += folder.evaluations.rglob("*")
    assert {"kept", f"round-{total:04d}.json"} < {path.name for path in made}
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    # It holds scores alone.
    assert stat.S_IMODE(folder.report_json.stat().st_mode) == 0o644


@pytest.mark.parametrize("harm", [_missing, _others, _unreadable, _altered, _too_long, _dead])
def test_a_suite_that_cannot_be_run_is_an_event_and_ends_nothing(
    wanted: tuple[RunFolder, WantedRun], harm: Callable[[RunFolder, Path], None]
) -> None:
    folder, run = wanted
    assert run.suite is not None
    harm(folder, run.suite)
    seconds = 0.01 if harm is _too_long else 120.0
    audits = DeployedEvaluation(folder=folder, wanted=run, longest_seconds=seconds)
    assert not audits.at_end()
    (event,) = EventLog.of(folder).events()
    assert event.kind == "not-evaluated"
    assert event.detail


def test_without_a_suite_nothing_is_measured(wanted: tuple[RunFolder, WantedRun]) -> None:
    folder, run = wanted
    plain = DeployedEvaluation(folder=folder, wanted=run.model_copy(update={"suite": None}))
    assert not plain.at_end()
    assert not EventLog.of(folder).path.exists()
