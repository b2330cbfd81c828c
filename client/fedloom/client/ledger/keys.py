"""The site's signing key: Ed25519, in a file that only its owner can read."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from fedloom.shared.errors import LedgerError
from fedloom.shared.files import check_owner_only, write_durably

_OWNER_ONLY = 0o600


class SiteKey:
    """Signs for one site."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    @classmethod
    def generate(cls) -> "SiteKey":
        """A new key, in memory alone."""
        return cls(Ed25519PrivateKey.generate())

    @property
    def public(self) -> str:
        """The public key, 32 bytes in hex."""
        return self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def sign(self, digest: str) -> str:
        """The signature of a hex digest, 64 bytes in hex."""
        return self._private.sign(bytes.fromhex(digest)).hex()

    def keep(self, path: Path, passphrase: bytes | None = None) -> None:
        """Write the key to a file of the owner's alone, encrypted if there is a passphrase.

        Raises:
            LedgerError: there is a key already; a new one could not vouch for the old ledger.
        """
        if path.exists():
            raise LedgerError(f"key {path}: exists already, expected none")
        locked = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        content = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)
        write_durably(path, content, mode=_OWNER_ONLY)


def read_key(path: Path, passphrase: bytes | None = None) -> SiteKey:
    """The key in a file.

    Raises:
        LedgerError: no file, one that others can read, another passphrase, or no Ed25519 key.
    """
    if not path.is_file():
        raise LedgerError(f"key {path}: no such file, expected the site's signing key")
    check_owner_only(path)
    try:
        private = load_pem_private_key(path.read_bytes(), passphrase)
    except TypeError as error:
        has = "encrypted, but no" if passphrase is None else "not encrypted, but a"
        raise LedgerError(
            f"key {path}: it is {has} passphrase was given (key.passphrase_file in site.toml)"
        ) from error
    except ValueError as error:
        expected = "the key's passphrase" if passphrase else "an Ed25519 key"
        raise LedgerError(f"key {path}: cannot be read, expected {expected}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise LedgerError(f"key {path}: expected an Ed25519 key")
    return SiteKey(private)
