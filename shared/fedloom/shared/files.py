"""Durable files: what was written is there whole after a crash, or not there at all."""

import hashlib
import os
import secrets
import stat
from pathlib import Path

from fedloom.shared.errors import CredentialError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW

# The mode of keys, secrets, and what is as private as records.
OWNER_ONLY = 0o600


def write_durably(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by `content` so that a crash leaves the old file or the new one, whole.

    Writes beside the target, syncs, renames, syncs the folder. The draft's name can neither be
    guessed nor be there: whoever may write to the folder could else lead the content elsewhere.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.draft")
    try:
        descriptor = os.open(draft, _NEW, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        # A full disk is not to stay full of drafts.
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove_durably(path: Path) -> None:
    """Remove a file, if there is one; it is gone after a crash too."""
    if path.exists():
        path.unlink(missing_ok=True)
        sync_folder(path.parent)


def append_durably(path: Path, line: bytes, *, mode: int = 0o644) -> None:
    """Append one line; it is on disk when this returns. A crash can leave only a cut last line."""
    existed = path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, mode)
    with os.fdopen(descriptor, "ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if not existed:
        sync_folder(path.parent)


def read_whole_lines(path: Path) -> list[bytes]:
    """Lines that were appended whole; a last line cut by a crash is left out."""
    if not path.exists():
        return []
    return path.read_bytes().split(b"\n")[:-1]


def drop_cut_line(path: Path) -> None:
    """Remove a last line that a crash cut, so that the next append starts on a line of its own."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        write_durably(path, content[:whole], mode=path.stat().st_mode & 0o777)


def make_folder(path: Path) -> None:
    """Make a folder of the owner's alone, with the folders above it, all durable.

    One that is there already stays as it is.

    Raises:
        CredentialError: a symbolic link is in its place, and leads who knows where.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    if path.is_symlink():
        raise CredentialError(f"{path}: a symbolic link, expected a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    # With its mode from the first moment; an existing one's mode is another's decision.
    path.mkdir(mode=0o700, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def check_owner_only(path: Path) -> None:
    """Make sure that nobody but a file's owner may read or write it.

    Raises:
        CredentialError: others may.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise CredentialError(f"{path}: mode {mode:o}, expected 600, owner only")


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; also for names that no file system would take."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def sync_folder(folder: Path) -> None:
    """Make a rename or a new name in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
