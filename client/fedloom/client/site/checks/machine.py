"""The machine: room on its disks, the service's address, and who may read or write the files."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from fedloom.client.rpc.address import Address, read_address
from fedloom.client.site.checks.finding import (
    Seen,
    Site,
    good,
    mode_of,
    problem,
    warning,
    written_by_others,
)
from fedloom.client.site.config import SiteConfig
from fedloom.client.training.device import choose_device
from fedloom.shared.files import check_owner_only

_OTHERS_READ = 0o004
# An adapter's update is rarely more than this part of the model's weights.
_UPDATE_PART = 0.01
# With less, not even the ledger is sure to be written.
_LEAST_FREE = 100_000_000


def look_at_disk(site: Site) -> Iterator[Seen]:
    """Room for what training keeps: hidden states up to their limit, and the sealed updates."""
    for folder, needed in _needs(site).items():
        free = shutil.disk_usage(folder).free
        text = f"{folder}: {_size(free)} free; up to {_size(needed)} may be needed"
        if free < _LEAST_FREE:
            yield problem(f"{text}; the ledger needs room to be written")
        elif free < needed:
            yield warning(f"{text} (cache.max_bytes, and limits.max_rounds updates)")
        else:
            yield good(text)


def look_at_address(site: Site) -> Iterator[Seen]:
    """Where the service would listen, and that nobody else could listen there first.

    Raises:
        ConfigError: the address or its certificates are wrong.
        LedgerError: others can read the certificate's key.
    """
    service = site.config.service
    address = read_address(service.address, service.tls, side="service")
    found = list(_open_to_others(address))
    if address.credentials is not None and service.tls is not None:
        check_owner_only(service.tls / "service.key")
    yield from found or [good(address.target)]


def look_at_device(site: Site) -> Iterator[Seen]:
    """What it would train on.

    Raises:
        TrainingError: CUDA is asked for and there is none.
    """
    yield good(f"trains on {choose_device(site.config.compute.device).type}")


def look_at_files(site: Site) -> Iterator[Seen]:
    """Who besides the owner may read or write the records and settings."""
    found = list(writable_settings(site.settings, site.config))
    for path in (site.settings, site.config.policy, site.config.source.path):
        if path.is_file() and mode_of(path) & _OTHERS_READ:
            text = f"mode {mode_of(path):o} lets every user of this machine read it, expected 640"
            found.append(warning(f"{path}: {text}"))
    yield from found or [good("records and settings are not open to every user of this machine")]


def writable_settings(settings: Path, config: SiteConfig) -> Iterator[Seen]:
    """Which of the files that decide what is trained on, and what leaves, others may write."""
    for path, what in (
        (settings, "write it, and with it decide what leaves"),
        (config.policy, "write it, and with it decide what leaves"),
        (config.source.path, "write it, and with it decide what is trained on"),
    ):
        if path.is_file():
            yield from written_by_others(path, what)


def _needs(site: Site) -> Mapping[Path, int]:
    """Bytes by folder; folders on one disk are one."""
    config = site.config
    weights = sum(path.stat().st_size for path in config.model.glob("*.safetensors"))
    updates = int(weights * _UPDATE_PART) * site.policy.limits.max_rounds
    folders: dict[int, Path] = {}
    needs: dict[Path, int] = {}
    for wanted, size in (
        (config.state, updates),
        (config.cache.folder or config.state, config.cache.max_bytes),
    ):
        there = _existing(wanted)
        folder = folders.setdefault(there.stat().st_dev, there)
        needs[folder] = needs.get(folder, 0) + size
    return needs


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def _open_to_others(address: Address) -> Iterator[Seen]:
    socket = address.socket
    if socket is None:
        return
    if not socket.parent.is_dir():
        yield problem(f"{socket.parent}: no such folder, expected one for the service's socket")
        return
    if socket.exists() and not socket.is_socket():
        yield problem(f"{socket}: another file is there, expected a socket or nothing")
    if not os.access(socket.parent, os.W_OK):
        yield problem(f"{socket.parent}: cannot be written by you, expected it for the socket")
    yield from written_by_others(socket.parent, "listen in the service's place")


def _size(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"
