"""Ed25519 signatures of digests, everything in hex."""

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


# A ledger is verified several times a round, and most of it is what it was before.
@lru_cache(maxsize=16_384)
def is_signed(digest: str, signature: str, public: str) -> bool:
    """Whether `signature` is that of `digest` by the holder of the key `public`."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signature), bytes.fromhex(digest))
    except (InvalidSignature, ValueError):
        return False
    return True
