"""Ed25519 signatures of digests, everything in hex."""

import re
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_SIGNATURE = re.compile(r"[0-9a-f]{128}")


def is_signature(text: str) -> bool:
    """Whether a text has the form of a signature."""
    return _SIGNATURE.fullmatch(text) is not None


def is_signed(digest: str, signature: str, public: str) -> bool:
    """Whether `signature` is that of `digest` by the holder of the key `public`."""
    # A peer's text of any length must not be kept in memory.
    return is_signature(signature) and _verified(digest, signature, public)


# A ledger is verified several times a round, and most of it is what it was before.
@lru_cache(maxsize=16_384)
def _verified(digest: str, signature: str, public: str) -> bool:
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signature), bytes.fromhex(digest))
    except (InvalidSignature, ValueError):
        return False
    return True
