"""Checkpoints and journal: whole or refused, and a crash loses at most the last round."""

import hashlib
from pathlib import Path

import pytest

from fedloom.server.run.checkpoint import (
    checkpoint_path,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import Journal, RoundEntry, SiteRound
from fedloom.shared.errors import CheckpointError, PlanError, RunFolderError
from tests.support.plans import a_plan, an_adapter

PLAN = "ab" * 32


def write(folder: Path, *rounds: int) -> None:
    for number in rounds:
        write_checkpoint(folder, number, an_adapter(number), PLAN)


def test_a_checkpoint_comes_back_bit_by_bit(tmp_path: Path) -> None:
    write(tmp_path, 3)
    found = read_checkpoint(tmp_path, 3, PLAN)
    assert found.layout == an_adapter(3).layout
    assert found.sha256 == an_adapter(3).sha256


def test_what_is_read_does_not_hang_on_the_file(tmp_path: Path) -> None:
    write(tmp_path, 1)
    found = read_checkpoint(tmp_path, 1, PLAN)
    checkpoint_path(tmp_path, 1).unlink()
    found.flat[0] += 1


@pytest.mark.parametrize("kept", [0, 1, 31, 32, 33, -1])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, kept: int) -> None:
    write(tmp_path, 1)
    path = checkpoint_path(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="truncated or altered"):
        read_checkpoint(tmp_path, 1, PLAN)


@pytest.mark.parametrize("at", [0, 31, 32, 60, -1])
def test_one_altered_bit_is_refused(tmp_path: Path, at: int) -> None:
    write(tmp_path, 1)
    path = checkpoint_path(tmp_path, 1)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="truncated or altered"):
        read_checkpoint(tmp_path, 1, PLAN)


def test_a_checkpoint_of_another_plan_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 1)
    with pytest.raises(CheckpointError, match="another plan or round"):
        read_checkpoint(tmp_path, 1, "cd" * 32)


def test_a_checkpoint_renamed_to_another_round_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 1)
    checkpoint_path(tmp_path, 1).rename(checkpoint_path(tmp_path, 2))
    with pytest.raises(CheckpointError, match="another plan or round"):
        read_checkpoint(tmp_path, 2, PLAN)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="missing, expected round 4"):
        read_checkpoint(tmp_path, 4, PLAN)


@pytest.mark.parametrize("body", [b"", b"\2\0\0\0\0\0\0\0[]", b"no safetensors"])
def test_a_rightly_hashed_body_that_is_no_checkpoint_is_refused(
    tmp_path: Path, body: bytes
) -> None:
    checkpoint_path(tmp_path, 1).write_bytes(hashlib.sha256(body).digest() + body)
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path, 1, PLAN)


def test_the_newest_is_found_by_number(tmp_path: Path) -> None:
    # By name, round-9999 would come after round-10000.
    write(tmp_path, 0, 9, 10, 9999, 10000)
    found = latest_checkpoint(tmp_path, PLAN)
    assert found is not None
    assert found[0] == 10000


@pytest.mark.parametrize("kept", [0, 20, 50, -1])
def test_a_truncated_newest_falls_back_to_the_one_before(tmp_path: Path, kept: int) -> None:
    write(tmp_path, 0, 1, 2)
    path = checkpoint_path(tmp_path, 2)
    path.write_bytes(path.read_bytes()[:kept])
    found = latest_checkpoint(tmp_path, PLAN)
    assert found is not None
    assert found[0] == 1
    assert found[1].sha256 == an_adapter(1).sha256


@pytest.mark.parametrize(("damaged", "found"), [(3, 2), (2, 1), (1, 3), (0, 3)])
def test_where_two_are_needed_the_newest_whole_pair_is_found(
    tmp_path: Path, damaged: int, found: int
) -> None:
    write(tmp_path, 0, 1, 2, 3)
    checkpoint_path(tmp_path, damaged).write_bytes(b"x")
    newest = latest_checkpoint(tmp_path, PLAN, needed=2)
    assert newest is not None and newest[0] == found
    write(tmp_path / "begun", 0)
    newest = latest_checkpoint(tmp_path / "begun", PLAN, needed=2)
    assert newest is not None and newest[0] == 0


def test_no_checkpoints_are_none_and_drafts_do_not_count(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path, PLAN) is None
    assert latest_checkpoint(tmp_path / "nowhere", PLAN) is None
    (tmp_path / ".round-0001.ckpt.77.draft").write_bytes(b"half")
    assert latest_checkpoint(tmp_path, PLAN) is None


def test_all_damaged_is_an_error_not_a_new_start(tmp_path: Path) -> None:
    # Starting anew would ask the sites for rounds that they have answered from another start.
    write(tmp_path, 0, 1)
    for number in (0, 1):
        checkpoint_path(tmp_path, number).write_bytes(b"x")
    with pytest.raises(CheckpointError):
        latest_checkpoint(tmp_path, PLAN)


def entry(number: int, *, name: str = "a") -> RoundEntry:
    site = SiteRound(site="north", fault=None, bytes_up=4, bytes_down=8, epsilon_spent=0.1 + 0.2)
    return RoundEntry(round=number, accepted=1, seconds=0.5, adapter_sha256=name, sites=(site,))


def test_the_journal_keeps_the_last_entry_of_a_round(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "rounds.jsonl")
    assert journal.entries() == []
    for made in (entry(1), entry(2, name="before"), entry(2, name="after"), entry(3)):
        journal.append(made)
    assert journal.entries() == [entry(1), entry(2, name="after"), entry(3)]


@pytest.mark.parametrize("kept", [1, 30, -1])
def test_the_journal_drops_a_cut_line(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "rounds.jsonl"
    journal = Journal(path)
    journal.append(entry(1))
    whole = path.read_bytes()
    journal.append(entry(2))
    path.write_bytes(whole + path.read_bytes()[len(whole) :][:kept])
    assert journal.entries() == [entry(1)]
    journal.append(entry(2, name="again"))
    assert journal.entries() == [entry(1), entry(2, name="again")]


def test_a_damaged_journal_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rounds.jsonl"
    journal = Journal(path)
    journal.append(entry(1))
    path.write_bytes(path.read_bytes() + b'{"round":2}\n')
    with pytest.raises(CheckpointError, match=r"rounds.jsonl, line 2: damaged"):
        journal.entries()


def test_a_run_folder_is_never_overwritten(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create(a_plan())
    assert folder.read_plan() == a_plan()
    with pytest.raises(RunFolderError, match="exists already"):
        folder.create(a_plan(name="other"))
    assert folder.read_plan() == a_plan()


def test_a_folder_that_is_no_run_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"no plan\.toml"):
        RunFolder(tmp_path).read_plan()
    (tmp_path / "plan.toml").write_text("name = 3\n")
    with pytest.raises(PlanError):
        RunFolder(tmp_path).read_plan()


def test_two_writers_of_one_run_are_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with folder.locked(), pytest.raises(RunFolderError, match="in use"), folder.locked():
        pass
    with folder.locked():
        pass
