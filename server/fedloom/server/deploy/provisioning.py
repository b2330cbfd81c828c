"""Kits: what each party needs to join one federation, and nothing of another's."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedloom.server.deploy.admitting import check_keys
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.processes import make_home
from fedloom.server.deploy.settings import ServerSettings
from fedloom.server.run.heads import HeadBook
from fedloom.shared.errors import CredentialError
from fedloom.shared.files import OWNER_ONLY, make_folder, write_durably
from fedloom.shared.keys import SigningKey
from fedloom.shared.kits.authority import Issued, new_authority, new_server
from fedloom.shared.kits.document import (
    Kit,
    PartyKeys,
    PrivateKeys,
    SignedKit,
    SiteRequest,
)
from fedloom.shared.kits.node_key import NodeKey
from fedloom.shared.kits.sealing import new_passphrase, seal

SERVER, AUTHORITY = "server", "authority"


@dataclass(frozen=True, kw_only=True)
class Provisioned:
    """A kit that was made. `passphrase` opens it, None where the site has its keys already."""

    site: str
    kit: Path
    passphrase: Path | None


class Provisioner:
    """Makes kits into one folder; the first time, the server's too.

    Guarantee: a site's kit holds public things of the coordinator and, only where no request
    of the site was given, that site's own two private keys, encrypted (`kits.sealing`). What is
    there already is never written over: a site's name stays with its keys until it is removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.home = ServerHome(folder / SERVER)

    def begin(self, settings: ServerSettings) -> None:
        """Make the authority and the server's folder, or find them as `settings` have them.

        Raises:
            CredentialError: the folder is another federation's or server's, or holds other things.
        """
        if self.home.settings_file.exists():
            self._check_same(settings)
            return
        if self.home.sites_file.exists():
            # A new authority would turn away each site that has a kit.
            raise CredentialError(f"{self.home.settings_file}: lost, expected it beside sites.json")
        self._check_own()
        make_folder(self._folder)
        make_folder(self.home.path)
        authority = new_authority(settings.federation)
        server = new_server(authority, settings.host)
        self._keep_authority(authority)
        home = self.home
        write_durably(home.authority, authority.certificate)
        write_durably(home.certificate, server.certificate)
        write_durably(home.certificate_key, server.key, mode=OWNER_ONLY)
        for secret in (home.superexec_secret, home.control_token):
            write_durably(secret, secrets.token_hex(32).encode(), mode=OWNER_ONLY)
        if not home.coordinator_key.exists():
            SigningKey.generate().keep(home.coordinator_key)
        make_home(home)
        # Last: where it is, all of the above is.
        home.write_settings(settings)

    def renew_server(self) -> None:
        """A new certificate for the server, from the same authority.

        Raises:
            CredentialError: the authority's key is not there.
        """
        folder = self._folder / AUTHORITY
        if not (folder / "ca.key").is_file():
            raise CredentialError(f"{folder}: no ca.key, expected the authority's key back")
        key, certificate = (folder / "ca.key").read_bytes(), self.home.authority.read_bytes()
        issued = new_server(Issued(certificate=certificate, key=key), self.home.settings().host)
        write_durably(self.home.certificate_key, issued.key, mode=OWNER_ONLY)
        write_durably(self.home.certificate, issued.certificate)

    def check_new(self, asked: Mapping[str, SiteRequest | None]) -> None:
        """Make sure that no name and no key of a request has a kit already.

        Raises:
            CredentialError: one has; two parties would answer under it, or one under two names.
        """
        sites = self.home.sites()
        if taken := sorted(set(sites) & set(asked)):
            have, them = ("has", "it") if len(taken) == 1 else ("have", "them")
            raise CredentialError(
                f"{self._folder}: {', '.join(taken)} {have} a kit already, expected a new site (or "
                f"--remove {them} first)"
            )
        check_keys(self.home, asked)

    def make(self, site: str, request: SiteRequest | None) -> Provisioned:
        """The kit of one site: from its request, or with new keys under a new passphrase.

        Raises:
            CredentialError: the name has a kit already.
        """
        self.check_new({site: request})
        if request is not None:
            kit, passphrase = self._kit(site, request.keys), None
        else:
            kit, passphrase = self._with_keys(site)
        path = self._folder / f"{site}.kit"
        signed = SignedKit.by(kit, self.home.coordinator())
        write_durably(path, signed.model_dump_json(indent=1).encode())
        words = self._folder / f"{site}.passphrase"
        # Of a kit that was cut off, or removed in part.
        words.unlink(missing_ok=True)
        if passphrase is not None:
            write_durably(words, f"{passphrase}\n".encode(), mode=OWNER_ONLY)
        # Last: a kit that was made and not noted can be made again.
        self.home.write_sites({**self.home.sites(), site: kit.keys})
        return Provisioned(site=site, kit=path, passphrase=words if passphrase else None)

    def remove(self, site: str) -> None:
        """Forget a site and its ledger's head: its node and its answers count no more.

        Raises:
            CredentialError: there is none of that name.
        """
        sites = self.home.sites()
        keys = sites.pop(site, None)
        if keys is None:
            raise CredentialError(f"{self._folder}: no site {site}, expected one that has a kit")
        self.home.write_removed([*self.home.removed(), keys.node])
        self.home.write_sites(sites)
        HeadBook(self.home.heads).forget(site)
        for suffix in ("kit", "passphrase"):
            (self._folder / f"{site}.{suffix}").unlink(missing_ok=True)

    def _with_keys(self, site: str) -> tuple[Kit, str]:
        link, node = SigningKey.generate(), NodeKey.generate()
        keys = PartyKeys(link=link.public, node=node.public)
        kit, passphrase = self._kit(site, keys), new_passphrase()
        private = PrivateKeys(link=link.to_pem().decode(), node=node.to_openssh().decode())
        sealed = seal(private.model_dump_json().encode(), passphrase, bound=kit.bound)
        return kit.model_copy(update={"sealed": sealed}), passphrase

    def _kit(self, site: str, keys: PartyKeys) -> Kit:
        settings = self.home.settings()
        return Kit(
            federation=settings.federation,
            site=site,
            server=settings.public_address,
            authority=self.home.authority.read_text(),
            coordinator=self.home.coordinator().public,
            keys=keys,
        )

    def _keep_authority(self, authority: Issued) -> None:
        make_folder(self._folder / AUTHORITY)
        write_durably(self._folder / AUTHORITY / "ca.key", authority.key, mode=OWNER_ONLY)

    def _check_own(self) -> None:
        """The folder becomes the owner's alone: so it must not be one that holds other things."""
        there = self._folder.iterdir() if self._folder.exists() else ()
        others = sorted(path.name for path in there if not _is_ours(path))
        if others:
            raise CredentialError(
                f"{self._folder}: holds {others[0]}, expected a new folder, an empty one, or one "
                "of kits"
            )

    def _check_same(self, settings: ServerSettings) -> None:
        found = self.home.settings()
        if (found.federation, found.host, found.port) != (
            settings.federation,
            settings.host,
            settings.port,
        ):
            raise CredentialError(
                f"{self._folder}: made for {found.federation} at {found.public_address}, expected "
                "the same federation and address, or a new folder"
            )


def _is_ours(path: Path) -> bool:
    return path.name in (SERVER, AUTHORITY) or path.suffix in (".kit", ".passphrase")
