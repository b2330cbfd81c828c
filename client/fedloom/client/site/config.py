"""A site's own settings. The site writes this file; no server and no bundle can change it."""

from pathlib import Path
from typing import Annotated, Literal

import tomli_w
from pydantic import Field

from fedloom.shared.config.reading import read_toml
from fedloom.shared.config.values import Count, Fraction, Integer, Name, Section, Unit
from fedloom.shared.data.records import RecordSource
from fedloom.shared.data.split import Split


class SourceSettings(Section):
    """Where the site's records lie and which columns to read.

    `group` is the one column that plans may weight records by; none: no plan may.
    """

    path: Path
    text: str
    label: str
    # Told to each coordinator, as the budget's unit.
    unit: Unit
    messages: str | None = None
    group: str | None = None


class SplitSettings(Section):
    """What the site keeps out of training, by privacy unit."""

    holdout: Literal["test", "validation"]
    test_fraction: Fraction
    validation_fraction: Fraction


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


class ServiceSettings(Section):
    """Where the trainer service listens: `unix:PATH`, or `127.0.0.1:PORT` with mutual TLS.

    `tls` is a folder with `ca.pem`, `service.pem` and `service.key`, `relay_tls` one with
    `ca.pem`, `relay.pem` and `relay.key` for the other end; a Unix socket needs neither.
    """

    address: str = "unix:trainer.sock"
    tls: Path | None = None
    relay_tls: Path | None = None


class NodeSettings(Section):
    """Flower's node beside the service: it has this port of loopback, and the next ones are for
    its health, the service's metrics, and the service itself where it is on a port."""

    port: Annotated[Integer, Field(ge=1024, le=65_530)] = 9470

    @property
    def health_port(self) -> int:
        """The node's gRPC health service."""
        return self.port + 1

    @property
    def metrics_port(self) -> int:
        """The trainer's metrics for Prometheus."""
        return self.port + 2

    @property
    def service_port(self) -> int:
        """The trainer service, in the settings of a new site with two users."""
        return self.port + 3


class KeySettings(Section):
    """The file with the passphrase of the site's key, the owner's alone; none: no passphrase."""

    passphrase_file: Path | None = None


class CoordinatorSettings(Section):
    """Who may ask: the coordinator's Ed25519 key in hex, as `fedloom site join` found it in the
    kit. Without one the site answers whoever reaches its service, as in a simulation."""

    public_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class SiteConfig(Section):
    """One site: its name, model, records, public size, state folder and policy file; then where it
    keeps hidden states, computes, has its key's passphrase, listens, who may ask, and the ports
    of its Flower node."""

    name: Name
    model: Path
    state: Path
    declared_units: Count
    labels: tuple[str, ...]
    source: SourceSettings
    split: SplitSettings
    policy: Path = Path("policy.toml")
    cache: CacheSettings = CacheSettings()
    compute: ComputeSettings = ComputeSettings()
    key: KeySettings = KeySettings()
    service: ServiceSettings = ServiceSettings()
    coordinator: CoordinatorSettings = CoordinatorSettings()
    node: NodeSettings = NodeSettings()

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
    config = read_toml(path, SiteConfig, expected="a site.toml (fedloom site init makes it)")
    return _anchored(config, path.resolve().parent)


def _anchored(config: SiteConfig, home: Path) -> SiteConfig:
    source = config.source.model_copy(update={"path": home / config.source.path})
    paths: dict[str, object] = {
        "model": home / config.model,
        "state": home / config.state,
        "policy": home / config.policy,
        "source": source,
    }
    if config.cache.folder is not None:
        folder = home / config.cache.folder
        paths["cache"] = config.cache.model_copy(update={"folder": folder})
    if config.key.passphrase_file is not None:
        paths["key"] = KeySettings(passphrase_file=home / config.key.passphrase_file)
    paths["service"] = _anchored_service(config.service, home)
    return config.model_copy(update=paths)


def _anchored_service(service: ServiceSettings, home: Path) -> ServiceSettings:
    scheme, _, path = service.address.partition("unix:")
    address = service.address if scheme else f"unix:{home / path}"
    return ServiceSettings(
        address=address,
        tls=service.tls and home / service.tls,
        relay_tls=service.relay_tls and home / service.relay_tls,
    )
