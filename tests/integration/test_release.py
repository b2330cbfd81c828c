"""From a federation to a release that a stranger verifies and loads, as a newcomer types it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from fedloom.cli.main import cli
from fedloom.client.app import make_client_app
from fedloom.client.ledger.ledger import Ledger
from fedloom.client.site.directory import SiteDirectory
from fedloom.server.run.checkpoint import read_checkpoint
from fedloom.server.run.folder import RunFolder
from fedloom.shared.errors import ReleaseError
from fedloom.shared.keys import SigningKey
from fedloom.shared.model.lora import live_parameters, read_adapter
from fedloom.simulation.executors.serial import SerialExecutor
from fedloom.simulation.site_app import in_process
from tests.support.released import VALIDATION, an_evaluation
from tests.support.tiny import write_federation

SITES = ("site0", "site1")
PROMISED = """
suite = "suite.toml"
[release]
intended_use = "Tests."
[[release.rules]]
figure = "validation.macro_f1"
at_least = {least}
"""


@contextmanager
def one_process(**_: object) -> Iterator[SerialExecutor]:
    yield SerialExecutor(make_client_app(in_process(SiteDirectory())))


def fedloom(*arguments: object, code: int = 0) -> Result:
    done = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A federation whose private run is at its end, with sites that outlast it."""
    home = tmp_path_factory.mktemp("home")
    federation = write_federation(
        home,
        sites=len(SITES),
        rounds=2,
        privacy="noise_multiplier = 0.8\ndelta = 1e-4",
        more=PROMISED.format(least=0.7),
    )
    (home / "suite.toml").write_text('[suite]\nname = "s"\n[audits.validation]\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedloom.simulation.federation.worker_pool", one_process)
        fedloom("simulate", federation, "--out", home / "run", "--sites", home / "kept")
    yield home


@pytest.fixture
def run(home: Path, tmp_path: Path) -> RunFolder:
    """A copy of the run, evaluated."""
    shutil.copytree(home / "run", tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    plan = run.read_plan()
    final = read_checkpoint(run.checkpoints, plan.rounds.total, plan.sha256)
    evaluation = an_evaluation(VALIDATION, plan=plan, adapter=final)
    run.evaluation.write_text(evaluation.model_dump_json(), encoding="utf-8")
    return run


def test_a_stranger_verifies_and_loads_what_was_released(
    run: RunFolder, home: Path, tmp_path: Path
) -> None:
    said = fedloom("release", run.path).output
    key = next(line.split()[2] for line in said.splitlines() if line.startswith("signed by"))
    # All that a stranger has is the folder, and the key that the coordinator told.
    shutil.copytree(run.path / "release", tmp_path / "elsewhere")
    shutil.rmtree(run.path)
    command = [sys.executable, "-m", "fedloom.cli", "verify", "elsewhere", "--coordinator"]
    done = subprocess.run(
        [*command, key.strip(";")], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "whole: released on" in done.stdout and "validation.macro_f1.at_least" in done.stdout
    base = AutoModelForSequenceClassification.from_pretrained(home / "model", num_labels=2)
    model = PeftModel.from_pretrained(base, tmp_path / "elsewhere")
    adapter = read_adapter(live_parameters(model)).sha256
    provenance = json.loads((tmp_path / "elsewhere" / "provenance.json").read_text())
    assert adapter == provenance["adapter_sha256"] and adapter in done.stdout


def test_provenance_names_the_updates_as_the_sites_ledgers_do(run: RunFolder, home: Path) -> None:
    """What the coordinator says it wove is what each site says it released."""
    fedloom("release", run.path)
    provenance = json.loads((run.path / "release" / "provenance.json").read_text())
    for site in SITES:
        entries = Ledger(home / "kept" / site / "state").entries()
        sealed = {each.charge.round: each.sealed for each in entries if each.event == "released"}
        assert sealed == {each["round"]: each["updates"][site] for each in provenance["rounds"]}
        assert len(sealed) == 2


def test_heads_of_sites_that_outlast_the_run_are_in_the_release(run: RunFolder, home: Path) -> None:
    fedloom("release", run.path)
    heads = json.loads((run.path / "release" / "heads.json").read_text())
    for site in SITES:
        ledger = Ledger(home / "kept" / site / "state")
        assert json.loads(heads[site])["digest"] == ledger.head().digest
        key = f"{site}={ledger.head().public_key}"
        said = fedloom("verify", run.path / "release", "--site-key", key, code=4).stdout
        others = [name for name in SITES if name != site]
        assert f"only this folder says are the sites' (--site-key): {', '.join(others)}" in said


def test_what_is_promised_later_does_not_count(run: RunFolder, home: Path) -> None:
    """A federation.toml with another threshold is not read when the adapter is released."""
    config = home / "federation.toml"
    text = config.read_text(encoding="utf-8")
    try:
        config.write_text(text.replace("at_least = 0.7", "at_least = 0.99"), encoding="utf-8")
        fedloom("release", run.path)
    finally:
        config.write_text(text, encoding="utf-8")
    assert "at_least = 0.7," in (run.path / "release" / "release.toml").read_text()


def test_what_was_released_is_not_decided_on_again_in_its_place(
    run: RunFolder, tmp_path: Path
) -> None:
    fedloom("release", run.path)
    page = run.report_html.read_bytes()
    with pytest.raises(ReleaseError, match="released before, expected --out"):
        fedloom("release", run.path)
    fedloom("release", run.path, "--out", tmp_path / "again")
    assert run.report_html.read_bytes() == page


def test_what_is_held_exits_with_3_and_one_line_and_an_override_with_0(run: RunFolder) -> None:
    run.evaluation.unlink()
    held = fedloom("release", run.path, code=3)
    rule = "validation.macro_f1.at_least"
    both = f"evaluated (not-measured), {rule} (not-measured)"
    assert held.stderr == f"fedloom: held by {both}\n"
    (record,) = run.path.glob("held-*")
    assert not (record / "adapter_model.safetensors").exists()
    again = fedloom("verify", record, code=3)
    assert again.stderr == held.stderr and ": held on" in again.stdout
    word = ("--by", "A. Person", "--reason", "to show")
    fedloom("release", run.path, "--override", rule, "--override", "evaluated", *word)
    said = fedloom("verify", run.path / "release", code=4).stdout
    assert f"overridden: {rule} (not-measured), by A. Person on" in said
    assert "whole, but only the folder says who signed: released on" in said


def test_a_forgery_of_a_strangers_is_not_taken_for_whole(run: RunFolder, tmp_path: Path) -> None:
    """Catches a script that asks for the exit code alone and takes what anyone signed."""
    SigningKey.generate().keep(tmp_path / "strangers.key")
    fedloom("release", run.path, "--key", tmp_path / "strangers.key")
    fedloom("verify", run.path / "release", code=4)
    fedloom("verify", run.path / "release", "--coordinator", "ab" * 32, code=1)


def test_each_tampering_is_one_line_and_exit_code_1(run: RunFolder) -> None:
    fedloom("release", run.path)
    folder = run.path / "release"
    (folder / "README.md").write_text("Safe.", encoding="utf-8")
    (folder / "more.bin").touch()
    said = fedloom("verify", folder, code=1)
    assert [line.split(": ")[1] for line in said.stderr.splitlines()] == ["README.md", "more.bin"]
    assert said.stdout == ""


@pytest.mark.parametrize(
    "words", [("--override", "x"), ("--by", "x", "--reason", "y"), ("--override", "x", "--by", " ")]
)
def test_an_override_needs_a_person_and_a_reason(run: RunFolder, words: tuple[str, ...]) -> None:
    assert "together" in fedloom("release", run.path, *words, code=2).output


def test_a_seeded_run_is_held_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedloom.simulation.federation.worker_pool", one_process)
    fedloom("simulate", write_federation(tmp_path, sites=1, rounds=1), "--out", tmp_path / "run")
    held = fedloom("release", tmp_path / "run", code=3)
    assert held.stderr == "fedloom: held by private-noise (failed), evaluated (not-measured)\n"
