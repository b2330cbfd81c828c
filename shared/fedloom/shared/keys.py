"""Signing keys: Ed25519 (RFC 8032), each in a file that only its owner can read."""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from fedloom.shared.errors import CredentialError
from fedloom.shared.files import OWNER_ONLY, check_owner_only, write_durably


class SigningKey:
    """Signs for one party."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    @classmethod
    def generate(cls) -> "SigningKey":
        """A new key, in memory alone."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(
        cls, content: bytes, passphrase: bytes | None = None, *, source: object
    ) -> "SigningKey":
        """The key in PEM text; `source` is where the text is from.

        Raises:
            CredentialError: another passphrase, or no Ed25519 key.
        """
        try:
            private = load_pem_private_key(content, passphrase)
        except TypeError as error:
            has = "encrypted, but no" if passphrase is None else "not encrypted, but a"
            raise CredentialError(
                f"key {source}: it is {has} passphrase was given (key.passphrase_file in site.toml)"
            ) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            expected = "the key's passphrase" if passphrase else "an Ed25519 key"
            raise CredentialError(f"key {source}: cannot be read, expected {expected}") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise CredentialError(f"key {source}: expected an Ed25519 key")
        return cls(private)

    @property
    def public(self) -> str:
        """The public key, 32 bytes in hex."""
        return self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def sign(self, digest: str) -> str:
        """The signature of a hex digest, 64 bytes in hex."""
        return self.sign_bytes(bytes.fromhex(digest)).hex()

    def sign_bytes(self, content: bytes) -> bytes:
        """The signature of other bytes, where another's format asks for it; 64 bytes.

        They must never be 32 bytes long, as the digests are that `sign` signs.
        """
        return self._private.sign(content)

    def to_pem(self, passphrase: bytes | None = None) -> bytes:
        """PKCS 8, encrypted if there is a passphrase."""
        locked = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)

    def keep(self, path: Path, passphrase: bytes | None = None) -> None:
        """Write the key to a file of the owner's alone, encrypted if there is a passphrase.

        Raises:
            CredentialError: there is a key already; a new one could not vouch for what it signed.
        """
        if path.exists():
            raise CredentialError(f"key {path}: exists already, expected none")
        write_durably(path, self.to_pem(passphrase), mode=OWNER_ONLY)


def read_key(path: Path, passphrase: bytes | None = None) -> SigningKey:
    """The key in a file.

    Raises:
        CredentialError: no file, one that others can read, another passphrase, or no Ed25519 key.
    """
    if not path.is_file():
        raise CredentialError(f"key {path}: no such file, expected a signing key")
    check_owner_only(path)
    return SigningKey.from_pem(path.read_bytes(), passphrase, source=path)
