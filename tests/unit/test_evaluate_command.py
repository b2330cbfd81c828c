"""`fedloom evaluate --suite`: an adapter folder alone, and beside another."""

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedloom.server.evaluator.alone import Alone, _section, evaluate_alone
from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.evaluator.sections import RecordsSection
from fedloom.server.evaluator.suite import read_suite
from fedloom.server.initial import initial_adapter, save_adapter
from fedloom.shared.adapter import Adapter
from tests.support.commands import Done, fedloom
from tests.support.tiny import sentences, write_csv, write_tiny_model
from tests.support.training import make_plan

SUITE = """
[suite]
name = "ours"
[audits.validation]
resamples = 100
[audits.honest]
[records]
path = "more.csv"
site = "ward"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("evaluate")
    model = write_tiny_model(home / "model")
    plan = make_plan(model)
    for name in ("ours", "theirs"):
        save_adapter(plan, model, initial_adapter(plan, model), target=home / name / "adapter")
    rows = [row | {"ward": f"w{at % 2}"} for at, row in enumerate(sentences(30, seed=2))]
    write_csv(home / "more.csv", rows)
    (home / "suite.toml").write_text(SUITE, encoding="utf-8")
    return home


COMMAND = ("evaluate", "ours/adapter", "--model", "model")


def run(home: Path, *more: str) -> Done:
    return fedloom(*COMMAND, *more, cwd=home)


def test_a_suite_is_run_on_an_adapter_beside_another(home: Path) -> None:
    """In a process of its own, as users have it."""
    more = ("--suite", "suite.toml", "--against", "theirs/adapter", "--out", "found")
    whole = [sys.executable, "-m", "fedloom.cli", *COMMAND, *more]
    done = subprocess.run(whole, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "honest: does not apply, " in done.stdout
    assert "with theirs/adapter, none differs beyond chance" in done.stdout
    # Nobody here knows where the file is from.
    assert "whether they were trained on is not known" in done.stdout
    assert "no site trained" not in done.stdout
    found = Evaluation.read(home / "found" / "evaluation.json")
    assert [one.name for one in found.subjects] == ["ours/adapter", "theirs/adapter"]
    accuracy = next(one for one in found.comparisons if one.key == "accuracy")
    assert (accuracy.difference, accuracy.p_value) == (0.0, 1.0)
    page = (home / "found" / "evaluation.html").read_text()
    assert "What was measured" in page
    # Dozens of p-values stand there.
    assert "one has p &lt; 0.05 by chance" in page


def test_findings_are_their_owners_alone(home: Path) -> None:
    """Examples in them show texts of the records; folders that were there keep their modes."""
    old = os.umask(0)
    try:
        done = run(home, "--suite", "suite.toml", "--out", "private")
    finally:
        os.umask(old)
    assert done.returncode == 0, done.stderr
    made = [home / "private", *(home / "private").rglob("*")]
    assert {"evaluation.json", "evaluation.html", "kept"} < {path.name for path in made}
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_same_values_scaled_otherwise_are_measured_anew(home: Path) -> None:
    """Into the same folder. Only the PEFT config tells the two adapters apart."""
    model, plan = home / "model", make_plan(home / "model")
    start = initial_adapter(plan, model)
    noise = np.random.default_rng(0).normal(size=start.flat.size, scale=0.5)
    adapter = Adapter(layout=start.layout, flat=(start.flat + noise).astype(np.float32))
    folder = home / "scaled" / "adapter"
    save_adapter(plan, model, adapter, target=folder)
    suite = read_suite(home / "suite.toml")
    asked = Alone(adapter=folder, model=model, out=home / "scales")
    first = evaluate_alone(asked, suite)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["lora_alpha"] *= 4
    (folder / "adapter_config.json").write_text(json.dumps(config))
    again, afresh = (
        evaluate_alone(replace(asked, out=home / out), suite) for out in ("scales", "others")
    )
    assert again.subject.adapter_sha256 == first.subject.adapter_sha256
    assert again.subject.audits == afresh.subject.audits != first.subject.audits


def test_data_takes_the_place_of_the_suites_records(home: Path) -> None:
    write_csv(home / "few.csv", sentences(12, seed=3))
    done = run(home, "--suite", "suite.toml", "--data", "few.csv", "--out", "few", "--json")
    assert done.returncode == 0, done.stderr
    assert (
        Evaluation.model_validate(json.loads(done.stdout)).subject.audits[0].figures[0].records
        == 12
    )


def test_whose_each_row_is_can_be_said(home: Path) -> None:
    """Thirty rows of six authors: intervals over six, and words for it, once."""
    rows = ("--data", "more.csv", "--json")
    over_rows, over_authors = (
        json.loads(run(home, *rows, *more).stdout) for more in ((), ("--unit", "author"))
    )
    assert "units" not in over_rows
    assert (over_authors["records"], over_authors["units"]) == (30, 6)
    assert over_rows["accuracy"]["value"] == over_authors["accuracy"]["value"]
    assert over_rows["accuracy"] != over_authors["accuracy"]
    said = run(home, "--data", "more.csv", "--unit", "author").stdout
    assert "in brackets a 95 % interval over 6 units (author)" in said
    done = run(home, "--suite", "suite.toml", *rows[:2], "--unit", "author", "--out", "by")
    assert done.stdout.count("resample whole units") == 1
    found = Evaluation.read(home / "by" / "evaluation.json")
    # Two wards: an author with rows in both is two units.
    assert found.subject.audits[0].figures[0].records == 12


@pytest.mark.parametrize(
    ("said", "whose"), [(None, "author"), ("record", "record"), ("ward", "ward")]
)
def test_data_has_the_suites_units_if_no_other_is_said(
    home: Path, said: str | None, whose: str
) -> None:
    """Records where there are none would be units that nobody asked for, and nobody was told."""
    own = RecordsSection(path=home / "more.csv", unit="author")
    found = _section(RecordsSection(path=home / "more.csv", unit=said), own)
    assert found is not None and found.whose == whose


def test_data_without_the_suites_units_is_refused(home: Path) -> None:
    suite = (home / "suite.toml").read_text() + 'unit = "patient"\n'
    (home / "by-patient.toml").write_text(suite, encoding="utf-8")
    done = run(home, "--suite", "by-patient.toml", "--data", "more.csv", "--out", "patients")
    assert done.returncode == 1 and "no column patient" in done.stderr
    more = ("--unit", "record")
    done = run(home, "--suite", "by-patient.toml", "--data", "more.csv", "--out", "rows", *more)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "one of --data and --suite is needed"),
        (("--data", "more.csv", "--out", "x"), "belong to --suite"),
        (("--suite", "none.toml"), "no such file, expected a suite of audits"),
        (("--suite", "suite.toml", "--against", "model"), "no fedloom.json"),
    ],
)
def test_bad_input_is_one_clear_line(home: Path, more: tuple[str, ...], said: str) -> None:
    done = run(home, *more)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_adapter_of_another_base_model_is_refused_by_name(home: Path, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "model", seed=1)
    plan = make_plan(model)
    save_adapter(plan, model, initial_adapter(plan, model), target=tmp_path / "adapter")
    done = run(home, "--suite", "suite.toml", "--against", str(tmp_path / "adapter"))
    assert done.returncode == 1
    assert "of another base model, task or kind of LoRA" in done.stderr
    # After what the progress said.
    assert done.stderr.splitlines()[-1].startswith("fedloom: adapter ")
    assert "Traceback" not in done.stderr


def test_lora_of_another_strength_is_not_taken_for_the_same(home: Path) -> None:
    shutil.copytree(home / "theirs" / "adapter", home / "louder", dirs_exist_ok=True)
    config = home / "louder" / "adapter_config.json"
    said = json.loads(config.read_text())
    config.write_text(json.dumps(said | {"lora_alpha": 2 * said["lora_alpha"]}))
    done = run(home, "--suite", "suite.toml", "--against", "louder")
    assert "kind of LoRA" in done.stderr
