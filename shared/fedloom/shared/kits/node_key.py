"""A site's key for Flower's own authentication of nodes: NIST P-384, in OpenSSH's form."""

from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from fedloom.shared.errors import CredentialError
from fedloom.shared.files import check_owner_only


class NodeKey:
    """Says to Flower's server which node this is; it protects no content (`wire.signed` does)."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private

    @classmethod
    def generate(cls) -> "NodeKey":
        """A new key, in memory alone."""
        return cls(ec.generate_private_key(ec.SECP384R1()))

    @classmethod
    def from_openssh(cls, content: bytes, *, source: object) -> "NodeKey":
        """The key in a file's content; `source` is where it is from.

        Raises:
            CredentialError: no P-384 key.
        """
        try:
            private = load_ssh_private_key(content, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise CredentialError(f"key {source}: cannot be read, expected a node's key") from error
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.key_size != 384:
            raise CredentialError(f"key {source}: expected a NIST P-384 key")
        return cls(private)

    @property
    def public(self) -> str:
        """The public key, as one line of OpenSSH's."""
        encoded = self._private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        return encoded.decode()

    @property
    def private(self) -> ec.EllipticCurvePrivateKey:
        """The key itself, for Flower's own client."""
        return self._private

    def to_openssh(self) -> bytes:
        """The private key, unencrypted: Flower's node takes no passphrase."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())

    def sign(self, digest: str) -> str:
        """ECDSA over a hex digest, in hex."""
        return self._private.sign(bytes.fromhex(digest), ec.ECDSA(SHA256())).hex()


def read_node_key(path: Path) -> NodeKey:
    """The key in a file of the owner's alone.

    Raises:
        CredentialError: no file, one that others can read, or no P-384 key.
    """
    if not path.is_file():
        raise CredentialError(f"key {path}: no such file, expected the node's key")
    check_owner_only(path)
    return NodeKey.from_openssh(path.read_bytes(), source=path)


def is_signed_by_node(digest: str, signature: str, public: str) -> bool:
    """Whether the holder of the OpenSSH key `public` signed a hex digest."""
    key = _public(public)
    if key is None:
        return False
    try:
        key.verify(bytes.fromhex(signature), bytes.fromhex(digest), ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def _public(text: str) -> ec.EllipticCurvePublicKey | None:
    try:
        key = load_ssh_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        return None
    is_p384 = isinstance(key, ec.EllipticCurvePublicKey) and key.key_size == 384
    return key if is_p384 and isinstance(key, ec.EllipticCurvePublicKey) else None
