"""A site's own settings. The site writes this file; no server and no bundle can change it."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import tomli_w
from pydantic import Field, ValidationError

from fedloom.shared.config.problems import explain
from fedloom.shared.config.sections import (
    Count,
    Fraction,
    Integer,
    Name,
    OpenFraction,
    Positive,
    Section,
)
from fedloom.shared.data.records import RecordSource
from fedloom.shared.data.split import Split
from fedloom.shared.errors import ConfigError

# The key in a Flower node's config that holds the path of the site's settings file.
SITE_SETTINGS = "site-settings"


class SourceSettings(Section):
    """Where the site's records lie and which columns to read."""

    path: Path
    text: str
    label: str
    unit: str
    messages: str | None = None


class SplitSettings(Section):
    """What the site keeps out of training, by privacy unit."""

    holdout: Literal["test", "validation"]
    test_fraction: Fraction
    validation_fraction: Fraction


class PolicySettings(Section):
    """What the site allows at most, over all runs on its records.

    The defaults are for an institution: no seeded noise, and nothing without privacy.
    """

    max_epsilon: Positive = 8.0
    max_delta: OpenFraction = 1e-5
    min_units: Count = 100
    max_steps: Count = 10_000
    allow_seeded_noise: bool = False
    allow_non_private: bool = False


class CacheSettings(Section):
    """What the site keeps of the frozen part of a model, to train faster.

    As private as the records themselves. No `folder` means one in the state folder, otherwise
    one that no other site uses; 0 for `max_bytes` keeps nothing. It is dropped after a run's
    last round, unless `keep` is set.
    """

    folder: Path | None = None
    max_bytes: Annotated[Integer, Field(ge=0)] = 4_000_000_000
    keep: bool = False


class ComputeSettings(Section):
    """Where the site computes; `auto` takes a CUDA device where there is one."""

    device: Literal["auto", "cpu", "cuda"] = "auto"


class SiteConfig(Section):
    """One site: its name, model, records, public size, state folder, policy, cache, device."""

    name: Name
    model: Path
    state: Path
    declared_units: Count
    labels: tuple[str, ...]
    source: SourceSettings
    split: SplitSettings
    policy: PolicySettings = PolicySettings()
    cache: CacheSettings = CacheSettings()
    compute: ComputeSettings = ComputeSettings()

    def record_source(self) -> RecordSource:
        """The records' place in the shape that readers take."""
        return RecordSource(**self.source.model_dump())

    def record_split(self) -> Split:
        """The split in the shape that readers take."""
        return Split(**self.split.model_dump())

    def to_toml(self) -> str:
        """As the text of a site file."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def read_site_config(path: Path) -> SiteConfig:
    """Read a site file; relative paths are taken from the file's folder.

    A ledger found by the process's working folder would be a new one in another folder.

    Raises:
        ConfigError: missing, no TOML, or with problems; all are named at once.
    """
    if not path.is_file():
        raise ConfigError(str(path), ["no such file, expected a site.toml"])
    try:
        config = SiteConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ConfigError(str(path), explain(error, SiteConfig)) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(str(path), [f"not TOML: {error}"]) from error
    return _anchored(config, path.resolve().parent)


def _anchored(config: SiteConfig, home: Path) -> SiteConfig:
    source = config.source.model_copy(update={"path": home / config.source.path})
    paths: dict[str, object] = {
        "model": home / config.model,
        "state": home / config.state,
        "source": source,
    }
    if config.cache.folder is not None:
        folder = home / config.cache.folder
        paths["cache"] = config.cache.model_copy(update={"folder": folder})
    return config.model_copy(update=paths)
