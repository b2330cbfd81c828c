"""Joining a federation: keys made at the site, a request for a kit, and the kit's opening."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from fedloom.client.deploy.link_folder import LinkFolder
from fedloom.client.deploy.naming import with_coordinator
from fedloom.client.site.config import SiteConfig, read_site_config
from fedloom.client.site.link import LINK_KEY
from fedloom.client.site.opening import passphrase_of
from fedloom.shared.errors import CredentialError
from fedloom.shared.files import write_durably
from fedloom.shared.keys import SigningKey, read_key
from fedloom.shared.kits.document import (
    PartyKeys,
    PrivateKeys,
    SignedKit,
    SiteRequest,
    read_document,
)
from fedloom.shared.kits.node_key import NodeKey
from fedloom.shared.kits.sealing import unseal


@dataclass(frozen=True, kw_only=True)
class _Keys:
    link: SigningKey
    node: NodeKey

    @property
    def public(self) -> PartyKeys:
        return PartyKeys(link=self.link.public, node=self.node.public)


class Joining:
    """One site that joins one federation.

    Guarantee: a kit is taken only if its coordinator signed it, it is for this site's name, and
    for keys that this site has or that its passphrase opens. Keys and kits that are there
    already are never written over; what was cut off is done again.
    """

    def __init__(self, settings: Path) -> None:
        self._settings = settings
        self._config: SiteConfig = read_site_config(settings)
        self._folder = LinkFolder.of(settings)

    def request(self) -> SiteRequest:
        """The site's request, with keys that are made now unless they were before.

        Raises:
            ConfigError, CredentialError: keys that are there cannot be read.
        """
        keys = self._own() or self._keep(_Keys(link=SigningKey.generate(), node=NodeKey.generate()))
        return SiteRequest.by(self._config.name, keys.link, keys.node)

    def read(self, kit: Path) -> SignedKit:
        """The kit in a file, if it is this site's.

        Raises:
            CredentialError: it is not whole, or another site's.
        """
        signed = read_document(kit, SignedKit, expected="a kit")
        if signed.kit.site != self._config.name:
            raise CredentialError(
                f"{kit}: the kit of site {signed.kit.site}, expected {self._config.name}'s"
            )
        known = self._config.coordinator.public_key
        if known not in (None, signed.kit.coordinator):
            raise CredentialError(
                f"{kit}: of coordinator {signed.kit.coordinator[:12]}…, expected "
                f"{known[:12] if known else ''}… as coordinator.public_key in {self._settings}"
            )
        return signed

    def join(self, signed: SignedKit, passphrase: str | None) -> None:
        """Take the kit: keys, the node's files, and the coordinator's key in site.toml.

        Raises:
            CredentialError: another site's keys, or another passphrase.
            ConfigError: the coordinator's key has no place in site.toml.
        """
        settings = with_coordinator(self._settings, signed.kit.coordinator)
        own = self._own()
        keys = own or _opened(signed, passphrase)
        # Before they are kept: other keys would keep this site from joining with its own.
        if keys.public != signed.kit.keys:
            raise CredentialError(
                "kit: it is for other keys than this site's, expected the kit that answers this "
                "site's own request"
            )
        if own is None:
            self._keep(keys)
        self._folder.keep(signed)
        mode = self._settings.stat().st_mode & 0o777
        write_durably(self._settings, settings.encode(), mode=mode)

    def _own(self) -> _Keys | None:
        node, path = self._folder.find_node_key(), self._config.state / LINK_KEY
        if node is None:
            return None
        return _Keys(link=read_key(path, passphrase_of(self._config)), node=node)

    def _keep(self, keys: _Keys) -> _Keys:
        path = self._config.state / LINK_KEY
        # The node's key is written last: without it there are no keys yet.
        path.unlink(missing_ok=True)
        keys.link.keep(path, passphrase_of(self._config))
        self._folder.keep_node_key(keys.node)
        return keys


def _opened(signed: SignedKit, passphrase: str | None) -> _Keys:
    kit = signed.kit
    if kit.sealed is None:
        raise CredentialError(
            "kit: it answers a request, and this site has no keys; expected the folder that "
            "fedloom site request was run in"
        )
    if passphrase is None:
        raise CredentialError("kit: its keys are encrypted, expected --passphrase-file")
    content = unseal(kit.sealed, passphrase, bound=kit.bound)
    try:
        private = PrivateKeys.model_validate_json(content)
    except ValidationError as error:
        raise CredentialError("kit: no keys in it, expected this site's two") from error
    link = SigningKey.from_pem(private.link.encode(), source="kit")
    return _Keys(link=link, node=NodeKey.from_openssh(private.node.encode(), source="kit"))


def described(signed: SignedKit) -> Iterator[str]:
    """The kit, for the person who is to compare it."""
    kit = signed.kit
    yield f"federation   {kit.federation}, as site {kit.site}"
    yield f"server       {kit.server}"
    yield f"coordinator  {kit.coordinator}"
    yield f"joining key  {kit.keys.link}"
    made = "the coordinator (encrypted in this kit)" if kit.sealed else "this site"
    yield f"keys         made by {made}"
