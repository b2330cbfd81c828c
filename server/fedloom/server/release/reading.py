"""Reads a folder that a stranger may have made: flat, bounded, following no link."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fedloom.shared.errors import ReleaseError
from fedloom.shared.printable import printable

# More files, or larger ones, no release has. The adapter is held in memory.
MOST_FILES = 64
MOST_BYTES = 32 * 2**20
MOST_WEIGHTS = 4 * 2**30
_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Read:
    """Files of a folder by name, read once; `problems` has one line for each that was not."""

    files: dict[str, bytes] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def names_in(folder: Path) -> frozenset[str]:
    """What lies in a folder, by name.

    Raises:
        ReleaseError: no such folder, or far too many files.
    """
    if not folder.is_dir():
        raise ReleaseError(f"{folder}: no such folder, expected a release")
    names: set[str] = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            names.add(entry.name)
            if len(names) > MOST_FILES:
                raise ReleaseError(f"{folder}: more than {MOST_FILES} files, expected at most that")
    return frozenset(names)


def read_files(folder: Path, names: Iterable[str]) -> Read:
    """The files of these names, and no others."""
    read = Read()
    for name in sorted(names):
        try:
            read.files[name] = read_file(folder / name)
        except ReleaseError as error:
            read.problems[name] = f"{printable(name)}: {error}"
    return read


def read_file(path: Path) -> bytes:
    """The content of one file.

    Raises:
        ReleaseError: it cannot be read, is a link, no file, or too large; in words that follow
            its name.
    """
    try:
        # A pipe without a writer would else be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        why = "a link" if path.is_symlink() else f"cannot be read ({error.strerror})"
        raise ReleaseError(f"{why}, expected a file") from error
    try:
        return _whole(descriptor, MOST_WEIGHTS if path.name == _WEIGHTS else MOST_BYTES)
    finally:
        os.close(descriptor)


def _whole(descriptor: int, most: int) -> bytes:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise ReleaseError("no file of its own, expected one")
    if found.st_size > most:
        raise ReleaseError(f"larger than {most:,} bytes, expected a release's file")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        content = file.read(found.st_size + 1)
    if len(content) != found.st_size:
        raise ReleaseError("changed while it was read, expected it to stay")
    return content
