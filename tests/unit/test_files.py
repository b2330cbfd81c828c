"""Files in a folder that another user may write to: nothing is led elsewhere."""

import os
import secrets
from pathlib import Path

import pytest

from fedloom.shared import files
from fedloom.shared.errors import CredentialError
from fedloom.shared.files import make_folder, write_durably


def test_a_draft_that_is_laid_out_as_a_trap_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even by one who guesses its name, a link to a file of the writer's own."""
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "guessed")
    own = tmp_path / "own"
    own.write_bytes(b"own")
    (tmp_path / ".node.secret.guessed.draft").symlink_to(own)
    with pytest.raises(FileExistsError):
        write_durably(tmp_path / "node.secret", b"new")
    assert own.read_bytes() == b"own"
    assert not (tmp_path / "node.secret").exists()


def test_no_two_drafts_have_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process left must not block the next one, of whatever number."""
    opened: list[str] = []
    usual = os.open

    def spy(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            assert flags & os.O_EXCL and flags & os.O_NOFOLLOW
            opened.append(str(path))
        return usual(path, flags, mode)

    monkeypatch.setattr(files.os, "open", spy)
    for _ in range(3):
        write_durably(tmp_path / "file", secrets.token_bytes(4))
    assert len(set(opened)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_link_in_a_folders_place_is_refused_and_what_it_leads_to_left_alone(
    tmp_path: Path,
) -> None:
    led_to = tmp_path / "etc"
    led_to.mkdir(mode=0o755)
    for name, where in (("logs", led_to), ("broken", tmp_path / "nowhere")):
        (tmp_path / name).symlink_to(where)
        with pytest.raises(CredentialError, match="a symbolic link, expected a folder"):
            make_folder(tmp_path / name)
    assert led_to.stat().st_mode & 0o777 == 0o755
    assert not (tmp_path / "nowhere").exists()


def test_a_new_folder_is_the_owners_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    old.chmod(0o711)
    make_folder(old)
    make_folder(old / "above" / "new")
    assert old.stat().st_mode & 0o777 == 0o711
    assert (old / "above" / "new").stat().st_mode & 0o777 == 0o700
