"""Small disks of their own for folders that are to run full."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.faults.network import sh

_FILLER = "filler"


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[None]:
    """The folder, with what is in it, on a disk of its own for the length of the block."""
    aside = folder.with_name(f".{folder.name}.aside")
    mode = folder.stat().st_mode & 0o777
    folder.rename(aside)
    folder.mkdir()
    sh("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode={mode:o}", "tmpfs", folder)
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        yield
    finally:
        sh("umount", "--lazy", folder)
        shutil.rmtree(aside)


def fill(folder: Path) -> None:
    """Leave no byte free."""
    with (folder / _FILLER).open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue


def free(folder: Path) -> None:
    (folder / _FILLER).unlink()
