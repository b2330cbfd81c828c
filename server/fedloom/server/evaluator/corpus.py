"""What an evaluation may read: records by site, their groups, and public benchmarks."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from fedloom.server.evaluator.units import Units
from fedloom.shared.assets.cache import default_cache, fetch_assets
from fedloom.shared.data.records import RECORD_UNIT, Record

_NONE: Mapping[str, tuple[Record, ...]] = MappingProxyType({})
_NO_GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Benchmarks:
    """Public data sets by asset name, out of pinned archives that are fetched where they may be."""

    cache: Path = field(default_factory=default_cache)
    offline: bool = True

    def archive(self, asset: str) -> Path:
        """The archive of an asset, with its pinned hash.

        Raises:
            AssetError: it is not in the cache and may not, or could not, be fetched.
        """
        return fetch_assets(self.cache, (asset,), offline=self.offline)[asset]


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Labelled records to measure on, by site, in `tests`.

    `held_out` says that no site trained on these, which only who parted the records can know.
    `members` are records that sites did train on, by site: at hand in a simulation alone, for
    audits of privacy. `groups` has, by name of a grouping (`sex`, `ward`), one value for each
    record of `joint`. `unit` is what privacy is promised to: `record`, or what the column is called
    that names whose each record is.
    """

    tests: Mapping[str, tuple[Record, ...]]
    members: Mapping[str, tuple[Record, ...]] = field(default_factory=lambda: _NONE)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NO_GROUPS)
    benchmarks: Benchmarks = field(default_factory=Benchmarks)
    held_out: bool = False
    unit: str = RECORD_UNIT

    @cached_property
    def joint(self) -> tuple[Record, ...]:
        """All test records, site after site."""
        return tuple(record for records in self.tests.values() for record in records)

    @cached_property
    def sites(self) -> tuple[str, ...]:
        """The site of each record of `joint`."""
        return tuple(site for site, records in self.tests.items() for _ in records)

    @cached_property
    def units(self) -> Units:
        """Whose each record of `joint` is: what intervals and tests over them resample."""
        return Units.of(self.tests.values(), unit=self.unit)

    @cached_property
    def sha256(self) -> str:
        """Digest of all records, their groups, and which of them are of one unit; benchmarks are
        pinned by themselves."""
        digest = hashlib.sha256()
        for part in (self.tests, self.members):
            for site, records in part.items():
                digest.update(json.dumps([site, _plain(records)]).encode())
        digest.update(json.dumps({name: list(of) for name, of in self.groups.items()}).encode())
        # Where each record is alone, what its unit is called changes no figure.
        sides = (self.units, Units.of(self.members.values(), unit=self.unit))
        if not all(units.alone for units in sides):
            whose = [self.unit, *(units.clusters for units in sides)]
            digest.update(json.dumps(whose).encode())
        return digest.hexdigest()


def pick(count: int, *, of: int) -> list[int]:
    """An even pick of at most `count` places out of `of`, the same each time."""
    if count >= of:
        return list(range(of))
    return [at * of // count for at in range(count)]


def _plain(records: Sequence[Record]) -> list[object]:
    return [[r.text, r.label, r.answer, [[t.role, t.content] for t in r.before]] for r in records]
