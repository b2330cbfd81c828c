"""Sites that fail, lag, lie or die: each is named and left out, and the others go on."""

import logging
import re
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from fedloom.client.ledger.ledger import Ledger
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import Journal, RoundEntry
from fedloom.shared.config.federation import read_federation
from fedloom.shared.errors import QuorumError
from fedloom.simulation.executors.pool import PoolExecutor
from fedloom.simulation.executors.serial import SerialExecutor
from fedloom.simulation.federation import RunOptions, run_federation
from fedloom.simulation.prepare import Prepared, prepare
from tests.support.faulty import PRIVATE_WORDS, VARIABLE, FaultyApp
from tests.support.tiny import write_federation


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("federation")
    return prepare(read_federation(write_federation(folder, rounds=1)))


def rounds_with(prepared: Prepared, path: Path) -> list[RoundEntry]:
    run_federation(prepared, RunFolder(path), SerialExecutor(FaultyApp()))
    return Journal(path / "rounds.jsonl").entries()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("raise", "failed while training"),
        ("nan", "NaN or infinity"),
        ("shape", "bytes, expected"),
        ("norm", "update norm"),
        ("round", "another round"),
        ("header", "rejected: UpdateHeader"),
        ("headless", "no head of the site's ledger"),
        ("chatty", "rejected: held-out counts, expected none"),
    ],
)
def test_a_bad_site_is_named_and_left_out(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, told: str
) -> None:
    monkeypatch.setenv(VARIABLE, f"site1:{fault}")
    (entry,) = rounds_with(prepared, tmp_path / "run")
    assert [site.fault is None for site in entry.sites] == [True, False, True]
    assert told in (entry.sites[1].fault or "")
    assert PRIVATE_WORDS not in (tmp_path / "run" / "rounds.jsonl").read_text()


def test_a_site_whose_ledger_is_an_older_copy_refuses_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A backup that is put back would forget what it has spent."""
    prepared = prepare(read_federation(write_federation(tmp_path, rounds=2)))
    path, backup = tmp_path / "run", tmp_path / "backup"
    state = path / "sites/site1/state"

    def back_up(number: int, *_: object) -> None:
        if number == 1:
            shutil.copytree(state, backup)

    options = RunOptions(observers=(back_up,))
    run_federation(prepared, RunFolder(path), SerialExecutor(FaultyApp()), options)
    shutil.rmtree(state)
    shutil.copytree(backup, state)
    (path / "checkpoints/round-0002.ckpt").unlink()
    with caplog.at_level(logging.WARNING, logger="fedloom.site"):
        run_federation(
            prepared, RunFolder(path), SerialExecutor(FaultyApp()), RunOptions(resume=True)
        )
    last = Journal(path / "rounds.jsonl").entries()[-1]
    assert [site.fault for site in last.sites] == [None, "refused: ledger-behind", None]
    assert "asked entry 5, allowed this copy has 3" in caplog.text
    assert len(Ledger(state).entries()) == 2, "nothing was charged or trained"


def test_a_left_out_site_does_not_count_in_the_mean(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter is that of a federation in which the two others were alone to answer."""
    monkeypatch.setenv(VARIABLE, "site1:nan")
    (lying,) = rounds_with(prepared, tmp_path / "lying")
    monkeypatch.setenv(VARIABLE, "site1:raise")
    (raising,) = rounds_with(prepared, tmp_path / "raising")
    assert lying.adapter_sha256 == raising.adapter_sha256


def test_without_quorum_the_run_stops_and_a_resume_spends_nothing_twice(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    monkeypatch.setenv(VARIABLE, "site0:raise,site1:raise")
    with pytest.raises(QuorumError, match=r"round 1: 1 of 2 needed.*site0: failed"):
        rounds_with(prepared, path)
    monkeypatch.setenv(VARIABLE, "")
    run_federation(prepared, RunFolder(path), SerialExecutor(FaultyApp()), RunOptions(resume=True))
    (entry,) = Journal(path / "rounds.jsonl").entries()
    assert entry.accepted == 3
    steps = prepared.plan.training.local_steps
    for site in prepared.plan.sites:
        assert Ledger(path / "sites" / site.name / "state").spent().steps == steps


def test_all_sites_failing_in_round_one_is_one_clear_error(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "site0:raise,site1:raise,site2:raise")
    with pytest.raises(QuorumError, match="round 1: 0 of 2 needed"):
        rounds_with(prepared, tmp_path / "run")


def test_a_site_without_its_records_says_why_at_home_and_only_a_rule_abroad(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = prepare(read_federation(write_federation(tmp_path, rounds=1)))
    (tmp_path / "site2.csv").write_text("secret words,label\n", encoding="utf-8")
    with caplog.at_level(logging.ERROR, logger="fedloom.site"):
        (entry,) = rounds_with(broken, tmp_path / "run")
    assert entry.sites[2].fault == "refused: cannot-train"
    assert "site2.csv" in caplog.text and "cannot-train" not in caplog.text


def test_bad_rows_are_left_out_at_home_and_nobody_else_hears_of_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal would tell the server that one record is not like the others."""
    prepared = prepare(read_federation(write_federation(tmp_path, rounds=1)))
    path = tmp_path / "site2.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "secret words,nowhere,x\n,positive,x\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING, logger="fedloom.site"):
        (entry,) = rounds_with(prepared, tmp_path / "spoilt")
    assert entry.accepted == 3
    assert "2 rows left out, the first at row 121, column label" in caplog.text
    assert "secret" not in caplog.text and "nowhere" not in caplog.text
    path.write_text(text, encoding="utf-8")
    (clean,) = rounds_with(prepared, tmp_path / "clean")
    assert entry.adapter_sha256 == clean.adapter_sha256


def test_a_site_with_another_base_model_refuses(tmp_path: Path) -> None:
    """The model folder changed after planning: no site trains on what was not agreed."""
    from tests.support.tiny import write_tiny_model

    prepared = prepare(read_federation(write_federation(tmp_path, rounds=1)))
    write_tiny_model(tmp_path / "model", seed=99)
    from fedloom.shared.errors import ModelError

    with pytest.raises(ModelError, match="fingerprint"):
        rounds_with(prepared, tmp_path / "run")


@pytest.mark.parametrize(
    ("fault", "rounds", "deadline", "told"),
    [
        ("die", 2, 120.0, "failed"),
        # Two clocks run out at once, the server's and that of what carries its question: either may
        # be the first to say so.
        pytest.param("hang", 1, 45.0, "no answer|node went", marks=pytest.mark.slow),
    ],
)
def test_a_site_whose_process_dies_or_hangs_is_left_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    rounds: int,
    deadline: float,
    told: str,
) -> None:
    monkeypatch.setenv(VARIABLE, f"site1:{fault}")
    path = write_federation(tmp_path, rounds=rounds, rounds_more=f"deadline_seconds = {deadline}")
    prepared = prepare(read_federation(path))
    with closing(PoolExecutor("tests.support.faulty:app", workers=3)) as executor:
        run_federation(prepared, RunFolder(tmp_path / "run"), executor)
    entries = Journal(tmp_path / "run" / "rounds.jsonl").entries()
    assert [entry.accepted for entry in entries] == [2] * rounds
    faults = [entry.sites[1].fault or "" for entry in entries]
    assert all(re.search(told, fault) for fault in faults), faults
