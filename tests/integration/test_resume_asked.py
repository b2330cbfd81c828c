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
from fedloom.shared.config.federation import read_federation
from fedloom.shared.errors import RunFolderError
from fedloom.simulation.prepare import prepare
from tests.support.deployed import change, declare_units
from tests.support.stopping import StoppingExecutor
from tests.support.tiny import sentences, write_csv, write_federation

SUITE = '[suite]\nname = "ours"\n[audits.validation]\nresamples = 100\n'
ROUNDS = 2
# Two sites say hello and train two rounds; the last of these jobs is never done.
LAST_JOB = 2 + 2 * ROUNDS
# The first job that trains.
FIRST_ROUND = 3
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


def check_charged_once(sites: Path) -> None:
    for site in ("site0", "site1"):
        entries = Ledger(sites / site / "state").entries()
        charged = [entry.charge.round for entry in entries if entry.event == "reserved"]
        assert charged == list(range(1, ROUNDS + 1))


def refused(fedloom: Fedloom, *options: str) -> str:
    """The one line of it, which changes nothing of what the run was asked."""
    asked = Path("run/asked.toml")
    before = asked.read_bytes() if asked.exists() else None
    with pytest.raises(RunFolderError) as caught:
        fedloom("--resume", "run", *options)
    assert (asked.read_bytes() if asked.exists() else None) == before
    (line,) = str(caught.value).splitlines()
    return line


def test_sites_that_outlast_the_run_are_remembered(fedloom: Fedloom) -> None:
    """Else the later rounds are charged to ledgers that the next run does not look at."""
    begun_and_stopped(fedloom, "--sites", "kept")
    assert fedloom("--resume", "run").exit_code == 0
    assert not Path("run/sites").exists()
    check_charged_once(Path("kept"))
    assert fedloom("--resume", "run", "--sites", "kept").exit_code == 0


@pytest.mark.parametrize("stop", [FIRST_ROUND + 1, LAST_JOB], ids=["in round 1", "in round 2"])
def test_sites_that_were_moved_are_asked_for_and_not_begun_anew(
    fedloom: Fedloom, stop: int
) -> None:
    """A new ledger knows nothing of what was spent. In round 1 no journal tells who was asked."""
    assert fedloom("--out", "run", "--sites", "kept", stop=stop).exit_code == 130
    Path("kept").rename("moved")
    for options, where in (((), "kept"), (("--sites", "others"), "others")):
        said = refused(fedloom, *options)
        assert f"the ledger of site0 in {Path(where).resolve()} is gone, expected" in said
        assert "if the folder of --sites was moved, name it again" in said
        assert not Path(where).exists()
    assert fedloom("--resume", "run", "--sites", "moved").exit_code == 0
    check_charged_once(Path("moved"))
    assert fedloom("--resume", "run").exit_code == 0, "it is remembered where they are now"


def test_sites_of_another_run_or_of_before_are_no_substitute(fedloom: Fedloom) -> None:
    assert fedloom("--out", "run", "--sites", "kept", stop=FIRST_ROUND + 3).exit_code == 130
    shutil.copytree("kept", "older")
    assert fedloom("--resume", "run").exit_code == 0
    assert "lacks what its site answered" in refused(fedloom, "--sites", "older")
    assert fedloom("--out", "another", "--sites", "others").exit_code == 0
    assert "is another, or an older copy" in refused(fedloom, "--sites", "others")


def test_sites_of_its_own_are_not_begun_anew_either(fedloom: Fedloom) -> None:
    begun_and_stopped(fedloom)
    assert "its sites are its own" in refused(fedloom, "--sites", "others")
    Path("run/sites/site1").rename("away")
    assert "the ledger of site1 in run/sites is gone" in refused(fedloom)
    Path("away").rename("run/sites/site1")
    Path("run/ledgers.json").rename("away")
    assert "no ledgers.json, expected the heads of the ledgers" in refused(fedloom)
    Path("away").rename("run/ledgers.json")
    assert fedloom("--resume", "run").exit_code == 0
    check_charged_once(Path("run/sites"))


def test_a_study_that_lost_what_it_was_asked_is_refused(fedloom: Fedloom) -> None:
    """It would train on with sites of its own, and without its arms and groups."""
    begun_and_stopped(fedloom, "--sites", "kept")
    Path("run/asked.toml").unlink()
    assert "no asked.toml, expected what the simulation was asked" in refused(fedloom)
    assert not Path("run/sites").exists()


@pytest.mark.parametrize(
    "other",
    [
        {"evaluation": {"test_fraction": 0.4}},
        {"evaluation": {"holdout": "validation"}},
        {"data": {"text": "said"}},
        {},
    ],
    ids=["test fraction", "holdout", "column", "file"],
)
def test_other_records_than_before_are_not_held_out(
    federation: Path, fedloom: Fedloom, other: dict[str, dict[str, object]]
) -> None:
    """Where sizes are declared the plan is the same, and what was trained on would be scored."""
    for site in range(2):
        rows = [row | {"said": row["text"][::-1]} for row in sentences(120, seed=site)]
        write_csv(federation.with_name(f"site{site}.csv"), rows)
    declare_units(federation)
    begun_and_stopped(fedloom)
    before = prepare(read_federation(federation)).plan.sha256
    change(federation, **other)
    if not other:
        write_csv(federation.with_name("site1.csv"), sentences(120, seed=9))
    assert prepare(read_federation(federation)).plan.sha256 == before
    said = refused(fedloom)
    assert "other records are held out or trained on than when it began, expected the same" in said
    assert not Path("run/report.json").exists()
