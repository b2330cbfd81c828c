"""What was measured once is not measured again: findings by adapter, audit, options and records."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from fedloom.server.evaluator.audits.base import Measured, Options
from fedloom.server.evaluator.findings import AuditFindings
from fedloom.shared.files import OWNER_ONLY, make_folder, write_durably

# What findings follow from: the code, the word lists that it reads, and the libraries, of which
# not all need be there.
_PACKAGES = (
    "fedloom.server.evaluator",
    "fedloom.shared.model",
    "fedloom.shared.swaps",
    "fedloom.shared.tasks",
)
_LIBRARIES = (
    *("torch", "transformers", "tokenizers", "peft", "bitsandbytes"),
    *("captum", "fairlearn", "lm-eval"),
)
_SUFFIXES = (".py", ".toml", ".txt")


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    findings: AuditFindings
    samples: dict[str, list[float]]
    # Numbers in place of names: which values belong together is all that matters.
    clusters: dict[str, list[int]]


class FindingsCache:
    """Files in a folder, each named by the digest of all that decides its content: the adapter's
    values, the model, the audit with its options, the records, and the code that measures.

    `about` is a digest (`digest_of`) of what else decides what an adapter says: how LoRA is
    scaled, the task, how much of a text is read, how the weights are held. They show texts of
    records, and are their owner's alone.
    """

    def __init__(self, folder: Path, *, model_sha256: str, corpus_sha256: str, about: str) -> None:
        self._folder = folder
        libraries = [[name, _version(name)] for name in ("fedloom", *_LIBRARIES)]
        self._about = [model_sha256, corpus_sha256, about, libraries, _code()]

    def find(self, adapter: str, audit: str, options: Options) -> Measured | None:
        """What was measured before; a file that cannot be read is as none."""
        path = self._path(adapter, audit, options)
        if not path.is_file():
            return None
        try:
            kept = _Kept.model_validate_json(path.read_bytes())
        except ValidationError:
            return None
        samples = {key: np.array(values) for key, values in kept.samples.items()}
        return Measured(findings=kept.findings, samples=samples, clusters=kept.clusters)

    def keep(self, adapter: str, audit: str, options: Options, measured: Measured) -> None:
        """For the next time."""
        make_folder(self._folder)
        samples = {key: values.tolist() for key, values in measured.samples.items()}
        clusters = {key: _numbered(names) for key, names in measured.clusters.items()}
        kept = _Kept(findings=measured.findings, samples=samples, clusters=clusters)
        path = self._path(adapter, audit, options)
        write_durably(path, kept.model_dump_json().encode(), mode=OWNER_ONLY)

    def _path(self, adapter: str, audit: str, options: Options) -> Path:
        key = [*self._about, adapter, audit, options.model_dump(mode="json")]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self._folder / f"{audit}-{digest[:32]}.json"


def digest_of(*said: Mapping[str, object]) -> str:
    """Hex SHA-256 of plain values, as they would stand in JSON."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _numbered(names: Sequence[object]) -> list[int]:
    numbers: dict[object, int] = {}
    return [numbers.setdefault(name, len(numbers)) for name in names]


@lru_cache(maxsize=1)
def _code() -> str:
    digest = hashlib.sha256()
    for package in _PACKAGES:
        _digest_of(files(package), digest.update)
    return digest.hexdigest()


def _digest_of(folder: Traversable, update: Callable[[bytes], None]) -> None:
    for part in sorted(folder.iterdir(), key=lambda part: part.name):
        if part.is_dir():
            _digest_of(part, update)
        elif part.name.endswith(_SUFFIXES):
            update(part.read_bytes())
