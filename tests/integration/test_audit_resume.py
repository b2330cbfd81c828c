"""A privacy audit that was stopped goes on, finds the same, and spends nothing twice."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedloom.cli.main import cli
from fedloom.client.ledger.ledger import Ledger
from fedloom.server.evaluator.findings import AuditFindings
from fedloom.server.run.folder import RunFolder
from fedloom.shared.errors import EvaluationError, FedLoomError, PlanError, RunFolderError
from fedloom.simulation.auditing.asked import options_before
from fedloom.simulation.auditing.kept import FILE
from fedloom.simulation.prepare import Prepared
from tests.support.audited import audited_federation, run_audit
from tests.support.stopping import StoppingExecutor

CANARIES, SHADOWS, SITES, ROUNDS = 20, 2, 2, 2
# In each run both sites say hello, and train in both rounds.
HELLOS, JOBS = SITES, SITES + SITES * ROUNDS
SEED = 3


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("federation")
    return audited_federation(
        folder, sites=SITES, width=32, rows=60, batch=20, rounds=ROUNDS, steps=2
    )


def audit(
    prepared: Prepared, folder: Path, *, resume: bool = False, stop: int | None = None
) -> tuple[AuditFindings, int]:
    """The findings, and how many jobs were done for them."""
    executor = StoppingExecutor(stop)
    asked = {"canaries": CANARIES, "shadows": SHADOWS, "seed": SEED}
    found = run_audit(prepared, folder, **asked, executor=executor, resume=resume)
    return found, executor.jobs


def stopped(prepared: Prepared, folder: Path, *, at: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        audit(prepared, folder, stop=at)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def whole(prepared: Prepared, home: Path) -> AuditFindings:
    found, jobs = audit(prepared, home / "run")
    assert jobs == (1 + SHADOWS) * JOBS
    assert any(figure.key == "lira_auc" for figure in found.figures)
    return found


@pytest.fixture
def finished(whole: AuditFindings, home: Path, tmp_path: Path) -> Path:
    """A copy of the run that found `whole`."""
    return shutil.copytree(home / "run", tmp_path / "run")


def check_charged_once(folder: Path) -> None:
    homes = [folder, *(folder / "shadows" / str(number + 1) for number in range(SHADOWS))]
    for home in homes:
        for site in range(SITES):
            entries = Ledger(home / "sites" / f"site{site}" / "state").entries()
            charged = [entry.charge.round for entry in entries if entry.event == "reserved"]
            assert charged == list(range(1, ROUNDS + 1)), home


@pytest.mark.parametrize(
    ("at", "trained_before"),
    [
        (1, 0),
        (HELLOS + SITES + 2, 1 * SITES + 1),
        (JOBS + HELLOS + 1, ROUNDS * SITES),
        (2 * JOBS + HELLOS + 2 * SITES, 3 * ROUNDS * SITES - 1),
    ],
    ids=["before a round", "in a round", "in the first shadow", "in the last shadow"],
)
def test_it_goes_on_from_where_it_was_and_finds_the_same(
    prepared: Prepared, whole: AuditFindings, tmp_path: Path, at: int, trained_before: int
) -> None:
    """A site that had answered answers from its ledger; what a finished run did is not done."""
    stopped(prepared, tmp_path / "run", at=at)
    found, jobs = audit(prepared, tmp_path / "run", resume=True)
    assert found == whole
    check_charged_once(tmp_path / "run")
    # A round that was cut is asked of both sites again.
    durable = trained_before - trained_before % SITES
    assert jobs == (1 + SHADOWS) * JOBS - durable


def test_what_was_found_is_not_looked_for_again(
    prepared: Prepared, whole: AuditFindings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking for canaries takes minutes; and a finished audit is finished."""
    stopped(prepared, tmp_path / "run", at=JOBS + 1)

    def evidence(*_: object) -> None:
        raise AssertionError("looked for again")

    monkeypatch.setattr("fedloom.simulation.auditing.audit.evidence", evidence)
    assert audit(prepared, tmp_path / "run", resume=True)[0] == whole
    found, jobs = audit(prepared, tmp_path / "run", resume=True)
    assert found == whole and jobs == HELLOS, "the audited run's sites alone say hello"
    written = (tmp_path / "run" / FILE).read_bytes()
    assert AuditFindings.model_validate_json(written) == whole


def test_findings_that_were_cut_are_found_again(
    prepared: Prepared, whole: AuditFindings, tmp_path: Path
) -> None:
    stopped(prepared, tmp_path / "run", at=JOBS + 1)
    (tmp_path / "run" / FILE).write_text("{", encoding="utf-8")
    assert audit(prepared, tmp_path / "run", resume=True)[0] == whole


@pytest.mark.parametrize("key", ["dealt_sha256", "plan_sha256", "adapter_sha256", None])
def test_findings_of_something_else_are_found_again(
    finished: Path, prepared: Prepared, whole: AuditFindings, key: str | None
) -> None:
    """Of other canaries, another plan or another adapter, as in a file that was copied here; or
    changed by somebody, who did not say so. Shadows would join what was never found."""
    nothing = whole.model_copy(update={"figures": (), "sources": ()})
    content = nothing.model_dump_json().encode()
    (finished / FILE).write_bytes(content)
    of = finished / "privacy-audit-of.json"
    told = json.loads(of.read_bytes())
    if key is not None:
        told |= {key: "0" * 64, "findings_sha256": hashlib.sha256(content).hexdigest()}
    of.write_text(json.dumps(told), encoding="utf-8")
    assert audit(prepared, finished, resume=True)[0] == whole
    assert AuditFindings.model_validate_json((finished / FILE).read_bytes()) == whole


def test_a_shadow_that_had_hardly_begun_begins_anew(
    prepared: Prepared, whole: AuditFindings, tmp_path: Path
) -> None:
    """Its folder is there and its plan is not: no site was asked."""
    stopped(prepared, tmp_path / "run", at=JOBS + 1)
    (tmp_path / "run" / "shadows" / "1" / "plan.toml").unlink()
    assert audit(prepared, tmp_path / "run", resume=True)[0] == whole
    check_charged_once(tmp_path / "run")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"canaries": 30}, "began with canaries 20, got 30, expected the same"),
        ({"shadows": 3}, "began with shadows 2, got 3"),
        ({"seed": 4}, "began with seed 3, got 4"),
        ({"site": "site1"}, "began with site of all sites, got site1"),
    ],
)
def test_other_options_are_refused_in_one_line(
    prepared: Prepared, tmp_path: Path, other: dict[str, object], said: str
) -> None:
    run = tmp_path / "run"
    stopped(prepared, run, at=1)
    asked = {"canaries": CANARIES, "shadows": SHADOWS, "seed": SEED} | other
    with pytest.raises(EvaluationError, match=said) as caught:
        run_audit(prepared, run, **asked, resume=True)
    assert len(str(caught.value).splitlines()) == 1


def test_other_canaries_or_another_plan_are_refused(prepared: Prepared, tmp_path: Path) -> None:
    """Canaries follow from the split too, which no plan holds where sizes are declared."""
    run = tmp_path / "run"
    stopped(prepared, run, at=1)
    evaluation = prepared.config.evaluation.model_copy(update={"test_fraction": 0.4})
    config = prepared.config.model_copy(update={"evaluation": evaluation})
    with pytest.raises(EvaluationError, match="other canaries than those that were planted"):
        audit(replace(prepared, config=config), run, resume=True)
    rounds = prepared.config.rounds.model_copy(update={"total": 3})
    config = prepared.config.model_copy(update={"rounds": rounds})
    with pytest.raises(PlanError, match="made by another plan"):
        audit(replace(prepared, config=config), run, resume=True)
    with pytest.raises(RunFolderError, match=r"no audit\.toml, expected a privacy audit to resume"):
        audit(prepared, run / "sites", resume=True)


def test_the_command_remembers_its_options(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = prepared.config.data.sites[0].path.with_name("federation.toml")
    run = tmp_path / "run"

    def fedloom(*options: object, stop: int | None = None) -> Result:
        @contextmanager
        def one_process(**_: object) -> Iterator[StoppingExecutor]:
            yield StoppingExecutor(stop)

        monkeypatch.setattr("fedloom.simulation.federation.worker_pool", one_process)
        return CliRunner().invoke(cli, ["audit", str(federation), *map(str, options)])

    beside: list[Path] = []
    where = "fedloom.simulation.auditing.attaching."
    monkeypatch.setattr(f"{where}check_attachable", lambda run, _: beside.append(run.path))
    monkeypatch.setattr(f"{where}attach", lambda _, run: beside.append(run.path))
    asked_for = ("--canaries", 20, "--shadows", 2, "--site", "site1", "--for", tmp_path / "other")
    done = fedloom(*asked_for, "--out", run, stop=4)
    assert done.exit_code == 130 and f"--resume {run} goes on" in done.output
    asked = options_before(RunFolder(run))
    assert (asked.canaries, asked.shadows, asked.site) == (20, 2, "site1")
    wrong = fedloom("--resume", run, "--canaries", 1000)
    assert isinstance(wrong.exception, FedLoomError)
    assert "began with canaries 20, got 1000" in str(wrong.exception)
    assert fedloom("--resume", run, "--out", tmp_path / "b").exit_code == 2
    beside.clear()
    done = fedloom("--resume", run)
    assert done.exit_code == 0, done.output
    assert "(20 canaries" in done.output and "LiRA tells" in done.output
    assert beside == [tmp_path / "other"] * 2, "checked before, and attached to"
