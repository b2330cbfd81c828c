"""Group columns of one's own in a simulation: read for held-out records, for audits alone."""

import csv
from pathlib import Path

import pytest

from fedloom.server.evaluator.alone import Alone, evaluate_alone
from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.evaluator.findings import AuditFindings
from fedloom.server.evaluator.suite import read_suite
from fedloom.server.release.publishing import published_evaluation
from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.federation import read_federation
from fedloom.shared.data.split import Split
from fedloom.shared.errors import ConfigError, DataError
from fedloom.simulation.asked import asked_before, unlike_groups
from fedloom.simulation.prepare import prepare
from fedloom.simulation.progress import silent
from fedloom.simulation.study import StudyOptions, run_study
from tests.support.stopping import StoppingExecutor
from tests.support.tiny import sentences, write_csv, write_federation

SUITE = '[suite]\nname = "g"\n[audits.groups]\nmin_group = 10\nresamples = 50\nmentions = false\n'
GROUPS = 'groups = ["sex", "ward"]'
SPLIT = Split(holdout="test", test_fraction=0.2, validation_fraction=0.125)
Rows = list[dict[str, str]]


def rows_of(site: int) -> Rows:
    """Groups lie unevenly, and all over the file; few are of the ward `hermitage`."""
    rows = sentences(160, seed=site)
    for at, row in enumerate(rows):
        row["sex"] = "f" if (at * 7 + site) % 3 else "m"
        row["ward"] = "hermitage" if at % 40 == 0 else f"w{at % 2}"
    return rows


def held_out(rows: Rows) -> list[bool]:
    return [SPLIT.part_of(row["text"]) == "test" for row in rows]


def write_grouped(folder: Path, *, groups: str = GROUPS, empty: str | None = None) -> Path:
    """A federation; `empty` says at which kind of row, `test` or `train`, one group is missing."""
    (folder / "suite.toml").write_text(SUITE, encoding="utf-8")
    more = f'suite = "suite.toml"\n{groups}'
    path = write_federation(folder, sites=2, rounds=1, more=more)
    for site in range(2):
        rows = rows_of(site)
        if empty is not None and site == 1:
            rows[held_out(rows).index(empty == "test")]["sex"] = " "
        write_csv(folder / f"site{site}.csv", rows)
    return path


def study(federation: Path, run: RunFolder, *, resume: bool = False) -> None:
    prepared = prepare(read_federation(federation))
    run_study(prepared, run, StoppingExecutor(), silent(), StudyOptions(resume=resume))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("groups")
    run = RunFolder(folder / "run")
    study(write_grouped(folder), run)
    return run


def groups_audit(evaluation: Evaluation) -> AuditFindings:
    (found,) = (one for one in evaluation.subject.audits if one.audit == "groups")
    assert found.applies, found.why_not
    return found


def test_groups_are_those_of_the_adapter_evaluated_alone_on_the_same_records(
    finished: RunFolder, tmp_path: Path
) -> None:
    """The rows are picked here and written to a file that says sex and ward; catches groups that
    go to other records, or are of records that were trained on."""
    home = finished.path.parent
    rows: Rows = []
    for site in range(2):
        with (home / f"site{site}.csv").open(encoding="utf-8", newline="") as file:
            own = list(csv.DictReader(file))
        each = zip(own, held_out(own), strict=True)
        rows += [row | {"site": f"site{site}"} for row, held in each if held]
    write_csv(tmp_path / "held-out.csv", rows)
    records = '[records]\npath = "held-out.csv"\nsite = "site"\ngroups = ["sex", "ward"]\n'
    (tmp_path / "suite.toml").write_text(SUITE + records, encoding="utf-8")
    asked = Alone(adapter=finished.adapter, model=home / "model", out=tmp_path / "out")
    alone = groups_audit(evaluate_alone(asked, read_suite(tmp_path / "suite.toml")))
    found = groups_audit(Evaluation.read(finished.evaluation))
    assert found.figures == alone.figures
    assert found.caveats == alone.caveats
    keys = {figure.key: figure.records for figure in found.figures}
    women = sum(row["sex"] == "f" for row in rows)
    assert keys["accuracy.sex.f"] == women and keys["accuracy.sex.m"] == len(rows) - women
    assert 0 < sum(row["ward"] == "hermitage" for row in rows) < 10


def test_a_rare_group_is_told_by_number_and_named_nowhere(finished: RunFolder) -> None:
    evaluation = Evaluation.read(finished.evaluation)
    assert any(
        "ward" in line and "1 group of 9 or fewer" in line
        for line in groups_audit(evaluation).caveats
    )
    written = [finished.evaluation.read_bytes(), finished.report_html.read_bytes()]
    for content in (*written, published_evaluation(evaluation)):
        assert b"w1" in content and b"hermitage" not in content


def test_they_change_neither_plan_nor_split_nor_adapter(
    finished: RunFolder, tmp_path: Path
) -> None:
    study(write_grouped(tmp_path, groups=""), RunFolder(tmp_path / "run"))
    plain, plan = RunFolder(tmp_path / "run"), finished.read_plan()
    assert plain.read_plan().sha256 == plan.sha256
    found = [Evaluation.read(run.evaluation).subject.adapter_sha256 for run in (plain, finished)]
    assert found[0] == found[1]
    keys = {figure.key for figure in groups_audit(Evaluation.read(plain.evaluation)).figures}
    assert not any(".sex" in key for key in keys)


def test_a_run_keeps_the_groups_that_it_began_with(finished: RunFolder) -> None:
    """Else a gap that holds the adapter goes away with its column."""
    home = finished.path.parent
    before = groups_audit(Evaluation.read(finished.evaluation))
    federation = home / "federation.toml"
    text = federation.read_text()
    federation.write_text(text.replace(GROUPS, 'groups = ["ward"]'), encoding="utf-8")
    try:
        said = unlike_groups(finished, read_federation(federation).evaluation.groups)
        study(federation, finished, resume=True)
    finally:
        federation.write_text(text, encoding="utf-8")
    assert said is not None and "changed since the run began: sex, ward of" in said
    assert unlike_groups(finished, ("sex", "ward")) is None
    assert asked_before(finished).groups == ("sex", "ward")
    assert groups_audit(Evaluation.read(finished.evaluation)) == before


def test_a_record_without_a_group_is_named_by_row_before_anything_trains(tmp_path: Path) -> None:
    path = write_grouped(tmp_path, empty="test")
    row = held_out(rows_of(1)).index(True) + 1
    with pytest.raises(DataError, match=rf"site1\.csv, row {row}, column sex: no value"):
        study(path, RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    write_grouped(tmp_path, groups='groups = ["age"]')
    with pytest.raises(DataError, match=r"site0\.csv: no column age"):
        study(path, RunFolder(tmp_path / "run"))


def test_one_that_trains_needs_none(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    study(write_grouped(tmp_path, empty="train"), run)
    keys = {figure.key for figure in groups_audit(Evaluation.read(run.evaluation)).figures}
    assert "accuracy.sex.f" in keys


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ('groups = ["sex", "sex"]', "groups are listed twice"),
        ('groups = ["site"]', "groups name site, which every evaluation has"),
        ('groups = [""]', "at least 1 character"),
    ],
)
def test_wrong_groups_are_one_line(tmp_path: Path, groups: str, said: str) -> None:
    path = write_grouped(tmp_path, groups=groups)
    with pytest.raises(ConfigError, match=said) as caught:
        read_federation(path)
    assert len(caught.value.problems) == 1


def test_groups_that_no_suite_measures_are_told(tmp_path: Path) -> None:
    path = write_grouped(tmp_path)
    path.write_text(path.read_text().replace('suite = "suite.toml"', ""), encoding="utf-8")
    with pytest.raises(ConfigError, match="groups need suite"):
        read_federation(path)
