"""A study with a suite: evaluated at its end and after every k rounds, shown, and decided."""

import json
import shutil
from pathlib import Path

import pytest

from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.evaluator.kept_suite import unlike_kept
from fedloom.server.report.compliance import Compliance
from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.federation import read_federation
from fedloom.shared.errors import ConfigError, EvaluationError, RunFolderError
from fedloom.simulation.auditing.attaching import attach, check_attachable
from fedloom.simulation.executors.serial import SerialExecutor
from fedloom.simulation.prepare import prepare
from fedloom.simulation.progress import silent
from fedloom.simulation.study import StudyOptions, run_study
from tests.integration.test_federation import honest
from tests.support.released import bounded
from tests.support.tiny import write_federation

SUITE = '[suite]\nname = "ours"\n[audits.validation]\nresamples = 100\n[audits.bbq]\n'


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("audited")
    (home / "suite.toml").write_text(SUITE, encoding="utf-8")
    return write_federation(home, rounds=3, more='suite = "suite.toml"\nevery = 2')


def study(federation: Path, folder: RunFolder, *, resume: bool = False) -> None:
    prepared = prepare(read_federation(federation))
    options = StudyOptions(arms=("non-private",), resume=resume)
    run_study(prepared, folder, SerialExecutor(honest()), silent(), options)


@pytest.fixture(scope="module")
def finished(federation: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("finished") / "run")
    study(federation, folder)
    return folder


def test_the_final_adapter_is_evaluated_beside_start_and_non_private(finished: RunFolder) -> None:
    found = Evaluation.read(finished.evaluation)
    report = json.loads(finished.report_json.read_text())
    assert [one.kind for one in found.subjects] == ["federation", "base", "non-private"]
    assert found.subject.adapter_sha256 == report["adapter_sha256"]
    accuracy = found.figure("validation.accuracy")
    assert accuracy is not None
    arm = next(arm for arm in report["evaluation"] if arm["kind"] == "federation")
    assert accuracy.value == pytest.approx(arm["tests"]["joint"]["accuracy"]["value"])
    assert {one.against for one in found.comparisons} == {"base", "non-private"}


def test_what_does_not_apply_says_so_in_place_of_a_number(finished: RunFolder) -> None:
    found = Evaluation.read(finished.evaluation)
    bbq = next(one for one in found.subject.audits if one.audit == "bbq")
    assert not bbq.applies
    assert bbq.why_not
    assert (
        f"{bbq.title}: does not apply, {bbq.why_not}."
        in Compliance.model_validate_json(finished.compliance.read_bytes()).not_covered
    )


def test_every_k_rounds_there_is_a_file_of_its_own(finished: RunFolder) -> None:
    found = sorted(path.name for path in finished.evaluations.glob("round-*.json"))
    assert found == ["round-0002.json"]
    early = Evaluation.read(finished.evaluations / "round-0002.json")
    late = Evaluation.read(finished.evaluation)
    assert early.subject.adapter_sha256 != late.subject.adapter_sha256


def test_a_resumed_study_measures_nothing_again(federation: Path, finished: RunFolder) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.evaluations.rglob("*.json")}
    study(federation, finished, resume=True)
    assert {
        path: path.stat().st_mtime_ns for path in finished.evaluations.rglob("*.json")
    } == before


@pytest.mark.parametrize(
    "later",
    [SUITE.replace("100", "200"), "[audits.validaton]", None],
    ids=["edited", "damaged", "gone"],
)
def test_a_resumed_study_is_judged_by_the_suite_that_it_began_with(
    federation: Path, finished: RunFolder, tmp_path: Path, later: str | None
) -> None:
    """Else whoever does not like the figures edits the suite, and goes on."""
    shutil.copytree(finished.path, tmp_path / "run")
    run, suite = RunFolder(tmp_path / "run"), federation.parent / "suite.toml"
    before = Evaluation.read(run.evaluation)
    run.evaluation.unlink()
    suite.unlink()
    if later is not None:
        suite.write_text(later, encoding="utf-8")
    try:
        said = unlike_kept(run, suite)
        study(federation, run, resume=True)
    finally:
        suite.write_text(SUITE, encoding="utf-8")
    assert said is not None and str(run.suite) in said
    assert unlike_kept(run, suite) is None
    assert Evaluation.read(run.evaluation).suite_sha256 == before.suite_sha256


def test_the_page_shows_what_was_measured_and_that_nothing_is_decided(
    finished: RunFolder,
) -> None:
    page = finished.report_html.read_text()
    assert "What was measured" in page
    assert "No decision yet" in page
    assert "data-protection impact assessment" in page


def test_the_page_shows_how_the_figures_went_and_compliance_what_they_are_of(
    finished: RunFolder,
) -> None:
    """Files of rounds lay there and nobody looked; held-out records are known to be held out."""
    page = finished.report_html.read_text()
    assert "figures by round" in page
    assert [page.count(f'<th scope="row">{at}</th><td>') for at in (0, 2, 3)] >= [1, 1, 1]
    measured = Compliance.model_validate_json(finished.compliance.read_bytes()).measured
    assert "no site trained on them" in measured[0].known


def test_a_wrong_suite_is_told_before_anything_trains(federation: Path, tmp_path: Path) -> None:
    suite = federation.parent / "suite.toml"
    suite.write_text(SUITE + "[audits.bqq]\n", encoding="utf-8")
    try:
        with pytest.raises(ConfigError, match="unknown audit, did you mean bbq"):
            study(federation, RunFolder(tmp_path / "run"))
        assert not (tmp_path / "run").exists()
    finally:
        suite.write_text(SUITE, encoding="utf-8")


def test_what_canaries_told_stands_beside_the_adapter_once(
    finished: RunFolder, tmp_path: Path
) -> None:
    shutil.copytree(finished.path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    bound = bounded("canaries", 1.5)
    attach(bounded("canaries", 0.5), run)
    attach(bound, run)
    found = Evaluation.read(run.evaluation)
    figure = found.figure("canaries.epsilon_lower_bound")
    assert figure is not None and figure.value == 1.5
    assert [one.audit for one in found.subject.audits].count("canaries") == 1
    assert "not on the very adapter beside which it stands" in run.report_html.read_text()


def test_canaries_of_another_federation_are_refused_before_they_train(
    finished: RunFolder, tmp_path: Path
) -> None:
    check_attachable(finished, finished.read_plan().sha256)
    with pytest.raises(EvaluationError, match="that of the federation to be audited"):
        check_attachable(finished, "0" * 64)
    with pytest.raises(RunFolderError, match=r"no plan\.toml"):
        check_attachable(RunFolder(tmp_path), "0" * 64)
