"""The suite that a run began with, kept in its folder."""

import json
from pathlib import Path

import pytest

from fedloom.server.evaluator.audits.exposure import Exposure
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.kept_suite import check_records, kept_text, read_kept, unlike_kept
from fedloom.server.evaluator.suite import Suite, read_suite
from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.sections import TaskSection
from fedloom.shared.errors import ConfigError, EvaluationError
from tests.support.language import write_tiny_gpt2
from tests.support.subjects import a_tiny_model

SUITE = """
[suite]
name = "all-kinds"
batch_size = 7
not_compared = ["groups", "exposure"]
[records]
unit = "record"
path = "own.csv"
groups = ["sex"]
[audits.groups]
min_group = 40
positive = "yes"
[audits.multiple-choice]
shots = [0, 2]
[audits.exposure]
canaries = "secrets.jsonl"
[audits.lm-eval]
tasks = ["tasks/task.yaml"]
"""
TASK = """
task: tiny
dataset_path: json
dataset_kwargs: {data_files: {test: test.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    home = tmp_path / "suites"
    (home / "tasks").mkdir(parents=True)
    (home / "tasks" / "task.yaml").write_text(TASK, encoding="utf-8")
    (home / "tasks" / "test.jsonl").write_text('{"question": "a", "answer": "b"}\n')
    canary = {"prompt": "the pin is", "secret": "4711"}
    (home / "secrets.jsonl").write_text(json.dumps(canary) + "\n", encoding="utf-8")
    (home / "own.csv").write_text("text,label,sex\na,yes,f\n", encoding="utf-8")
    (home / "suite.toml").write_text(SUITE, encoding="utf-8")
    return home / "suite.toml"


def a_run(folder: Path, suite: Suite) -> RunFolder:
    run = RunFolder(folder / "runs" / "run")
    run.path.mkdir(parents=True)
    run.suite.write_text(kept_text(suite), encoding="utf-8")
    return run


def said_of(suite: Suite | None) -> list[object]:
    assert suite is not None
    options = {name: repr(found) for name, found in suite.options.items()}
    return [suite.name, suite.sha256, suite.batch_size, suite.not_compared, suite.records, options]


def test_what_is_kept_reads_the_same_from_another_folder(suite: Path, tmp_path: Path) -> None:
    """Catches a path that is looked for beside the run, an option that is lost, another order."""
    asked = read_suite(suite)
    run = a_run(tmp_path, asked)
    kept = read_kept(run)
    assert said_of(kept) == said_of(asked)
    assert kept is not None and list(kept.audits) == list(asked.audits)
    assert kept.records is not None and kept.records.path == suite.with_name("own.csv")
    assert unlike_kept(run, suite) is None


def test_the_suite_that_comes_along_is_kept_the_same_way(tmp_path: Path) -> None:
    default = read_suite(tmp_path / "default")
    assert said_of(read_kept(a_run(tmp_path, default))) == said_of(default)


def test_a_run_that_began_without_one_has_none(suite: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert read_kept(run) is None
    assert unlike_kept(run, None) is None
    assert unlike_kept(run, suite) == f"suite {suite}: does not count, this run began without one"


def test_an_edited_suite_is_said_in_one_line_and_changes_nothing(
    suite: Path, tmp_path: Path
) -> None:
    run = a_run(tmp_path, read_suite(suite))
    before = said_of(read_kept(run))
    suite.write_text(SUITE.replace("min_group = 40", "min_group = 41"), encoding="utf-8")
    assert unlike_kept(run, suite) == (
        f"suite {suite}: changed since the run began: {run.suite} counts, which the run began with"
    )
    assert "cannot be read any more" in str(unlike_kept(run, suite.with_name("gone.toml")))
    assert "no suite is asked for now" in str(unlike_kept(run, None))
    assert said_of(read_kept(run)) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("tasks/task.yaml", "{{question}}", "So: {{question}}"),
        ("tasks/test.jsonl", '"a"', '"c"'),
        ("secrets.jsonl", "4711", "0815"),
    ],
)
def test_a_file_that_the_suite_names_is_not_another_by_the_end(
    suite: Path, tmp_path: Path, file: str, old: str, new: str
) -> None:
    """Its digest stands in the decision; what was measured would not be what it says."""
    run = a_run(tmp_path, read_suite(suite))
    path = suite.parent / file
    path.write_text(path.read_text().replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match="a file that it names, has changed since") as caught:
        read_kept(run)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "all-kinds"', 'name = "other-kinds"'),
        ("batch_size = 7", "batch_size = 8"),
        ('"exposure",\n', ""),
        ("own.csv", "others.csv"),
        ('text = "text"', 'text = "title"'),
        ('label = "label"', 'label = "guess"'),
        ('unit = "record"', 'unit = "patient"'),
        ("[records]\n", '[records]\nsite = "ward"\n'),
        ("[records]\n", '[records]\nmessages = "said"\n'),
        ('"sex",\n', '"ward",\n'),
        ('"sex",\n', ""),
        ("min_group = 40", "min_group = 41"),
        ('positive = "yes"', 'positive = "no"'),
        ("[audits.exposure]", "[audits.validation]\n[audits.exposure]"),
        ('\nrecords_sha256 = "', f'\nrecords_sha256 = "{"0" * 64}" #'),
        ('\nsha256 = "', f'\nsha256 = "{"0" * 64}" #'),
    ],
)
def test_a_kept_suite_that_somebody_edits_is_refused(
    suite: Path, tmp_path: Path, old: str, new: str
) -> None:
    """Each part of it: also what the suite's own digest leaves out, as where its records lie."""
    run = a_run(tmp_path, read_suite(suite))
    text = run.suite.read_text()
    edited = text.replace(old, new, 1)
    assert edited != text
    run.suite.write_text(edited, encoding="utf-8")
    with pytest.raises(ConfigError, match="has changed since the run began"):
        read_kept(run)


def test_records_are_those_of_when_the_run_began_wherever_they_are_read(
    suite: Path, tmp_path: Path
) -> None:
    """A simulation has its own, and is no worse off when the coordinator's change."""
    run = a_run(tmp_path, read_suite(suite))
    check_records(run)
    records = suite.with_name("own.csv")
    for harm in (lambda: records.write_text("text,label,sex\nb,yes,f\n"), records.unlink):
        harm()
        with pytest.raises(ConfigError, match=r"records\.path: .*own\.csv has changed") as caught:
            check_records(run)
        assert len(str(caught.value).splitlines()) == 1
        assert read_kept(run) is not None
    assert "changed since the run began" in str(unlike_kept(run, suite))


def test_a_file_that_changes_while_a_run_trains_is_not_measured(
    suite: Path, tmp_path: Path
) -> None:
    """Read at the start, measured at the end: all by one process."""
    audits = read_suite(suite).audits
    (suite.parent / "tasks" / "test.jsonl").write_text('{"question": "c", "answer": "b"}\n')
    (suite.parent / "secrets.jsonl").write_text('{"prompt": "the pin is", "secret": "0815"}\n')
    subject = a_tiny_model(write_tiny_gpt2(tmp_path / "model"), TaskSection(kind="causal-lm"))
    assert isinstance(audits["exposure"], Exposure)
    for name in ("lm-eval", "exposure"):
        with pytest.raises(EvaluationError, match="changed since the suite was read"):
            audits[name].measure(subject, Corpus(tests={}))


def test_the_digest_is_of_a_files_content_and_not_of_where_it_lies(
    suite: Path, tmp_path: Path
) -> None:
    here = read_suite(suite).sha256
    suite.parent.rename(tmp_path / "moved")
    moved = tmp_path / "moved" / "suite.toml"
    assert read_suite(moved).sha256 == here
    secrets = moved.with_name("secrets.jsonl")
    secrets.write_text(secrets.read_text().replace("4711", "0815"), encoding="utf-8")
    assert read_suite(moved).sha256 != here
