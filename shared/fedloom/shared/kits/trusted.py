"""The coordinator's key as Flower names it, where a node is told whose bundles it may run."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def key_id(public_key: str) -> str:
    """A name for a key (hex), of the form that Flower takes."""
    return f"fpk_{public_key[:32]}"


def openssh_key(public_key: str) -> str:
    """A key (hex) as one line of OpenSSH's."""
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
