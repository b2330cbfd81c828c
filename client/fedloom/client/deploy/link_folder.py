"""`link/` beside a site's settings: what its Flower node needs, and nothing of the trainer's."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from fedloom.shared.errors import CredentialError
from fedloom.shared.files import OWNER_ONLY, make_folder, write_durably
from fedloom.shared.kits.authority import new_pair
from fedloom.shared.kits.document import Kit, SignedKit, read_document
from fedloom.shared.kits.node_key import NodeKey, read_node_key
from fedloom.shared.kits.trusted import key_id, openssh_key


@dataclass(frozen=True)
class LinkFolder:
    """Paths of one site's link. Records, policy, ledger and the key for answers lie elsewhere:
    the node may run as another user than the trainer."""

    path: Path

    @classmethod
    def of(cls, settings: Path) -> "LinkFolder":
        """Beside the site file `settings`."""
        return cls(settings.absolute().parent / "link")

    @property
    def node_key(self) -> Path:
        """The node's private key."""
        return self.path / "node.key"

    @property
    def node_number(self) -> Path:
        """The number that the server knows the node by, since it was last connected."""
        return self.flower / "node.number"

    @property
    def node_lock(self) -> Path:
        """Held by the one node that runs."""
        return self.flower / "node.lock"

    @property
    def authority(self) -> Path:
        """The certificate that the server's must come from."""
        return self.path / "ca.pem"

    @property
    def trusted(self) -> Path:
        """Whose bundles the node runs."""
        return self.path / "trusted.yaml"

    @property
    def kit_file(self) -> Path:
        """The kit, without private keys."""
        return self.path / "kit.json"

    @property
    def node_secret(self) -> Path:
        """With it, a process may ask the node for a message to answer."""
        return self.path / "node.secret"

    @property
    def runtime_authority(self) -> Path:
        """The certificate that the node's own must come from, for who starts relays."""
        return self.path / "runtime-ca.pem"

    @property
    def runtime_certificate(self) -> Path:
        """By it, who starts relays knows the node."""
        return self.path / "runtime.pem"

    @property
    def runtime_key(self) -> Path:
        """Its key."""
        return self.path / "runtime.key"

    @property
    def flower(self) -> Path:
        """What the node and the relays write."""
        return self.path / "flower"

    @property
    def logs(self) -> Path:
        """What the node's processes say."""
        return self.path / "logs"

    @property
    def private(self) -> tuple[Path, ...]:
        """Keys and secrets, the node's user's alone."""
        return (self.node_key, self.runtime_key, self.node_secret)

    def kit(self) -> Kit:
        """The kit that the site joined with.

        Raises:
            CredentialError: it has not joined, or the file was altered.
        """
        if not self.kit_file.is_file():
            raise CredentialError(
                f"{self.kit_file}: no such file, expected a site that joined (fedloom site join)"
            )
        return read_document(self.kit_file, SignedKit, expected="a kit").kit

    def find_node_key(self) -> NodeKey | None:
        """The node's key, if there is one.

        Raises:
            CredentialError: others can read it, or it is none.
        """
        return read_node_key(self.node_key) if self.node_key.exists() else None

    def keep_node_key(self, key: NodeKey) -> None:
        """Write the node's key, the owner's alone."""
        make_folder(self.path)
        write_durably(self.node_key, key.to_openssh(), mode=OWNER_ONLY)

    def keep(self, signed: SignedKit) -> None:
        """Write all that the node needs, the kit last: where it is, all is.

        Nothing is made in this folder afterwards but by the node's own user, whose it may be.
        """
        for folder in (self.path, self.flower, self.logs):
            make_folder(folder)
        self._keep_own()
        kit = signed.kit
        write_durably(self.authority, kit.authority.encode())
        trusted = f'{key_id(kit.coordinator)}: "{openssh_key(kit.coordinator)} coordinator"\n'
        write_durably(self.trusted, trusted.encode())
        write_durably(self.kit_file, signed.model_dump_json(indent=1).encode())

    def _keep_own(self) -> None:
        """What node and executor know each other by; once made it stays."""
        if not self.node_secret.exists():
            write_durably(self.node_secret, secrets.token_hex(32).encode(), mode=OWNER_ONLY)
        if self.runtime_authority.exists():
            return
        pair = new_pair("node")
        write_durably(self.runtime_key, pair.service.key, mode=OWNER_ONLY)
        write_durably(self.runtime_certificate, pair.service.certificate)
        write_durably(self.runtime_authority, pair.authority)
