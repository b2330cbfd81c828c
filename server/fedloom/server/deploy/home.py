"""The folder of a federation's server: what lies where."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import tomli_w
from pydantic import TypeAdapter, ValidationError

from fedloom.server.deploy.settings import ServerSettings
from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.reading import read_toml
from fedloom.shared.errors import CredentialError
from fedloom.shared.files import write_durably
from fedloom.shared.keys import SigningKey, read_key
from fedloom.shared.kits.document import PartyKeys
from fedloom.shared.locks import is_locked

_SITES = TypeAdapter(dict[str, PartyKeys])
_REMOVED = TypeAdapter(list[str])


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
    def removed_file(self) -> Path:
        """Keys of nodes whose sites were removed; Flower's server takes none of them again."""
        return self.path / "removed.json"

    @property
    def heads(self) -> Path:
        """The newest head of each site's ledger, over all runs; a ServerApp may write there."""
        return self.path / "heads" / "heads.json"

    @property
    def flower(self) -> Path:
        """Flower's state."""
        return self.path / "flower"

    @property
    def keeper_lock(self) -> Path:
        """Held by the one keeper that runs."""
        return self.flower / "keeper.lock"

    @property
    def is_up(self) -> bool:
        """Whether a keeper tends this very folder, whatever listens on its ports."""
        return is_locked(self.keeper_lock)

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
        return _read(self.sites_file, _SITES, {}, expected="the sites' public keys")

    def write_sites(self, sites: dict[str, PartyKeys]) -> None:
        """Put `sites` in place of the ones before, durably."""
        tree = {name: keys.model_dump() for name, keys in sorted(sites.items())}
        write_durably(self.sites_file, json.dumps(tree, indent=1).encode())

    def removed(self) -> list[str]:
        """Nodes' keys of removed sites.

        Raises:
            CredentialError: the file is damaged.
        """
        return _read(self.removed_file, _REMOVED, [], expected="keys of removed nodes")

    def write_removed(self, keys: list[str]) -> None:
        """Put `keys` in place of the ones before, durably."""
        write_durably(self.removed_file, json.dumps(keys, indent=1).encode())


_Content = TypeVar("_Content")


def _read(path: Path, kind: TypeAdapter[_Content], none: _Content, *, expected: str) -> _Content:
    if not path.is_file():
        return none
    try:
        return kind.validate_json(path.read_bytes())
    except ValidationError as error:
        raise CredentialError(f"{path}: damaged, expected {expected}") from error
