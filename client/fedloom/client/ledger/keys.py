"""The site's signing key: Ed25519, in a file that only its owner can read."""

import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from fedloom.shared.errors import LedgerError
from fedloom.shared.files import write_durably

_OWNER_ONLY = 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class SiteKey:
    """Signs for one site."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    @property
    def public(self) -> str:
        """The public key, 32 bytes in hex."""
        return self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def sign(self, digest: str) -> str:
        """The signature of a hex digest, 64 bytes in hex."""
        return self._private.sign(bytes.fromhex(digest)).hex()


def make_key(path: Path, *, passphrase: bytes | None = None) -> SiteKey:
    """A new key in a new file, encrypted if there is a passphrase.

    Raises:
        LedgerError: there is a key already; a new one could not vouch for the old ledger.
    """
    if path.exists():
        raise LedgerError(f"key {path}: exists already, expected none")
    private = Ed25519PrivateKey.generate()
    locked: KeySerializationEncryption = NoEncryption()
    if passphrase is not None:
        locked = BestAvailableEncryption(passphrase)
    content = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)
    write_durably(path, content, mode=_OWNER_ONLY)
    return SiteKey(private)


def read_key(path: Path, *, passphrase: bytes | None = None) -> SiteKey:
    """The key in a file.

    Raises:
        LedgerError: no file, one that others can read, no Ed25519 key, or a wrong passphrase.
    """
    if not path.is_file():
        raise LedgerError(f"key {path}: no such file, expected the site's signing key")
    mode = path.stat().st_mode
    if mode & _OTHERS:
        raise LedgerError(f"key {path}: mode {stat.S_IMODE(mode):o}, expected 600, owner only")
    try:
        private = load_pem_private_key(path.read_bytes(), passphrase)
    except (ValueError, TypeError) as error:
        raise LedgerError(f"key {path}: damaged, or a wrong or missing passphrase") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise LedgerError(f"key {path}: expected an Ed25519 key")
    return SiteKey(private)
