"""This machine: versions, disk, ports and the owner-only files."""

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from fedloom.shared.doctor.symptom import Symptom
from fedloom.shared.ports import is_taken

_LEAST_FREE = 500_000_000
_OTHERS = 0o077


def versions() -> Iterator[Symptom]:
    """Python, FedLoom, and whether what it pins is what is installed."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield Symptom(text=f"FedLoom {version('fedloom')}, Python {python}")
    for line in requires("fedloom") or ():
        requirement = Requirement(line)
        pinned = any(each.operator == "==" for each in requirement.specifier)
        if pinned and requirement.marker is None:
            yield _installed(requirement)


def _installed(requirement: Requirement) -> Symptom:
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        found = "none"
    wanted = f"{requirement.name}{requirement.specifier}"
    # A local label, such as +cpu, is the same release.
    if found != "none" and requirement.specifier.contains(found.partition("+")[0]):
        return Symptom(text=f"{requirement.name} {found}")
    return Symptom(text=f"{requirement.name} {found}", mend=f"pip install '{wanted}'")


def disk(*folders: Path) -> Iterator[Symptom]:
    """Room where state is kept: a full disk stops rounds, though it loses none."""
    for folder in folders:
        there = next(each for each in (folder, *folder.parents) if each.exists())
        free = shutil.disk_usage(there).free
        text = f"{folder}: {free / 1e9:,.1f} GB free"
        enough = free >= _LEAST_FREE
        yield Symptom(text=text, mend=None if enough else "free some: at least 0.5 GB")


def private_files(*paths: Path) -> Iterator[Symptom]:
    """Keys and secrets: there, and the owner's alone."""
    missing = [path for path in paths if not path.exists()]
    open_ones = [path for path in paths if path.exists() and path.stat().st_mode & _OTHERS]
    for path in missing:
        yield Symptom(text=f"{path}: not there", mend="put it back from where it was made")
    for path in open_ones:
        yield Symptom(text=f"{path}: others can read it", mend=f"chmod 600 {path}")
    if not missing and not open_ones:
        yield Symptom(text=f"{len(paths)} private files, the owner's alone")


def ports(wanted: Mapping[str, int], *, running: bool) -> Iterator[Symptom]:
    """Ports of loopback: all taken while the party is up, and all free while it is not."""
    taken = {name: port for name, port in wanted.items() if is_taken(port)}
    if running:
        for name, port in wanted.items():
            if name not in taken:
                yield Symptom(text=f"{name}: nothing listens on {port}", mend="look at its log")
    else:
        for name, port in taken.items():
            mend = "end what listens there, or choose other ports"
            yield Symptom(text=f"{name}: {port} is taken by something else", mend=mend)
    if running == (len(taken) == len(wanted)) and (running or not taken):
        yield Symptom(text=f"{_listed(list(wanted.values()))} {'served' if running else 'free'}")


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
