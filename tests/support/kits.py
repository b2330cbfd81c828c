"""A federation's folder of kits, and sites that join with them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedloom.client.deploy import joining, link_folder
from fedloom.client.site.beginning import write_certificates
from fedloom.client.site.config import ServiceSettings
from fedloom.server.deploy import home as home_module
from fedloom.server.deploy import provisioning
from fedloom.server.deploy.provisioning import Provisioner
from fedloom.server.deploy.settings import ServerSettings
from fedloom.shared import files, keys
from fedloom.shared.kits import sealing
from fedloom.shared.kits.document import Kit, PartyKeys, SignedKit, SiteRequest, read_document
from fedloom.shared.kits.node_key import NodeKey
from tests.support.sites import a_policy, a_site_config, begin, write_settings

SETTINGS = ServerSettings(federation="ours", host="fed.example.org")
_WRITERS = (provisioning, home_module, joining, link_folder, keys)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase that costs nothing to try."""
    monkeypatch.setattr(sealing, "_COST", 2)


def provisioned(folder: Path) -> Provisioner:
    """A server's folder, begun."""
    found = Provisioner(folder)
    found.begin(SETTINGS)
    return found


def a_signed_kit(path: Path) -> SignedKit:
    return read_document(path, SignedKit, expected="a kit")


def a_new_site(home: Path, **changes: object) -> Path:
    """The settings of site north, with its ledger, before it joined."""
    home.mkdir(parents=True, exist_ok=True)
    config = a_site_config(home, **changes)
    begin(config)
    return write_settings(config, a_policy())


def a_joined_site(home: Path, **changes: object) -> Path:
    """The settings of site north, after it joined a coordinator of its own."""
    site, coordinator = a_new_site(home, **changes), keys.SigningKey.generate()
    request = joining.Joining(site).request()
    kit = SignedKit.by(a_kit(coordinator, keys=request.keys), coordinator)
    joining.Joining(site).join(kit, None)
    return site


def two_users(home: Path) -> dict[str, object]:
    """The settings of a site in `home` as `site init --two-users` begins it, with certificates."""
    service = ServiceSettings(
        address="127.0.0.1:9473", tls=home / "service-tls", relay_tls=home / "link" / "relay-tls"
    )
    home.mkdir(parents=True, exist_ok=True)
    write_certificates(a_site_config(home, service=service))
    return {"service": service}


def own_request(site: str = "north") -> tuple[keys.SigningKey, NodeKey, SiteRequest]:
    link, node = keys.SigningKey.generate(), NodeKey.generate()
    return link, node, SiteRequest.by(site, link, node)


def a_kit(coordinator: keys.SigningKey, **changes: Any) -> Kit:
    fields: dict[str, Any] = {
        "federation": "ours",
        "site": "north",
        "server": "fed.example.org:9443",
        "authority": "-----BEGIN CERTIFICATE-----",
        "coordinator": coordinator.public,
        "keys": PartyKeys(link=keys.SigningKey.generate().public, node=NodeKey.generate().public),
    }
    return Kit(**(fields | changes))


class PowerCut(BaseException):
    """The machine is gone at this point."""


@contextlib.contextmanager
def power_cut_at(number: int) -> Iterator[list[Path]]:
    """The power goes at the `number`th durable write, before it is done; what was to be written.

    Renames are whole or not at all, so that a cut within a write is one before or after it.
    """
    written: list[Path] = []

    def write(path: Path, content: bytes, *, mode: int = 0o644) -> None:
        written.append(path)
        if len(written) == number:
            raise PowerCut
        files.write_durably(path, content, mode=mode)

    with pytest.MonkeyPatch.context() as patch:
        for module in _WRITERS:
            patch.setattr(module, "write_durably", write)
        yield written


def everything_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
