"""The folder of a federation's server: what lies where, and its settings."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tomli_w
from pydantic import Field, TypeAdapter, ValidationError

from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.reading import read_toml
from fedloom.shared.config.sections import Integer, Name, Section
from fedloom.shared.errors import CredentialError
from fedloom.shared.files import write_durably
from fedloom.shared.keys import SigningKey, read_key
from fedloom.shared.kits.document import PartyKeys

Port = Annotated[Integer, Field(ge=1, le=65_535)]
_SITES = TypeAdapter(dict[str, PartyKeys])


class ServerSettings(Section):
    """`server.toml`: the public address, and the ports on loopback behind it.

    `host` is the name or address by which sites reach the server, `listen` the interface it is
    served on. From `inner_port` on, a few ports of loopback are the processes' own.
    """

    federation: Name
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]
    listen: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")] = "0.0.0.0"  # noqa: S104
    port: Port = 9443
    inner_port: Annotated[Integer, Field(ge=1024, le=65_530)] = 9460

    @property
    def superlink_port(self) -> int:
        """Flower's three interfaces, of which the proxy lets one through in part."""
        return self.inner_port

    @property
    def health_port(self) -> int:
        """Flower's gRPC health service."""
        return self.inner_port + 1

    @property
    def hub_port(self) -> int:
        """Where Flower's server fetches the signed bundle."""
        return self.inner_port + 2

    @property
    def metrics_port(self) -> int:
        """Metrics for Prometheus."""
        return self.inner_port + 3

    @property
    def keeper_health_port(self) -> int:
        """The keeper's gRPC health service."""
        return self.inner_port + 4

    @property
    def public_address(self) -> str:
        """As kits name it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class ServerHome:
    """Paths of one server; all of it is the owner's alone."""

    path: Path

    @property
    def settings_file(self) -> Path:
        """The settings."""
        return self.path / "server.toml"

    @property
    def authority(self) -> Path:
        """The certificate that sites know the server by."""
        return self.path / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The server's own."""
        return self.path / "server.pem"

    @property
    def certificate_key(self) -> Path:
        """Its key."""
        return self.path / "server.key"

    @property
    def coordinator_key(self) -> Path:
        """Signs tasks, bundles and kits."""
        return self.path / "coordinator.key"

    @property
    def superexec_secret(self) -> Path:
        """With it, a process may ask Flower's server for a ServerApp to run."""
        return self.path / "superexec.secret"

    @property
    def control_token(self) -> Path:
        """With it, a process may start runs and register nodes."""
        return self.path / "control.token"

    @property
    def sites_file(self) -> Path:
        """Each site's public keys."""
        return self.path / "sites.json"

    @property
    def flower(self) -> Path:
        """Flower's state."""
        return self.path / "flower"

    @property
    def proxy(self) -> Path:
        """The proxy's settings and temporary files."""
        return self.path / "proxy"

    @property
    def logs(self) -> Path:
        """What the processes say."""
        return self.path / "logs"

    @property
    def runs(self) -> Path:
        """A folder for each run."""
        return self.path / "runs"

    def run(self, name: str) -> RunFolder:
        """The folder of one run."""
        return RunFolder(self.runs / name)

    def settings(self) -> ServerSettings:
        """The settings.

        Raises:
            ConfigError: missing, no TOML, or with problems.
        """
        return read_toml(self.settings_file, ServerSettings, expected="a server's folder")

    def write_settings(self, settings: ServerSettings) -> None:
        """Write the settings, durably."""
        write_durably(self.settings_file, tomli_w.dumps(settings.model_dump()).encode())

    def coordinator(self) -> SigningKey:
        """The coordinator's key.

        Raises:
            CredentialError: lost, or readable by others.
        """
        return read_key(self.coordinator_key)

    def sites(self) -> dict[str, PartyKeys]:
        """Public keys by site; none before the first kit.

        Raises:
            CredentialError: the file is damaged.
        """
        if not self.sites_file.is_file():
            return {}
        try:
            return _SITES.validate_json(self.sites_file.read_bytes())
        except ValidationError as error:
            raise CredentialError(
                f"{self.sites_file}: damaged, expected the sites' public keys"
            ) from error

    def write_sites(self, sites: dict[str, PartyKeys]) -> None:
        """Put `sites` in place of the ones before, durably."""
        tree = {name: keys.model_dump() for name, keys in sorted(sites.items())}
        write_durably(self.sites_file, json.dumps(tree, indent=1).encode())
