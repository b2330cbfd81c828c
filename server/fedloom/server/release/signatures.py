"""A signature as a small file beside what it covers.

Guarantee: only the holder of the private key can have made it, for these bytes and this use: each
digest is taken over a prefix that no other signature of FedLoom's has. Assumes Ed25519 (RFC 8032)
and SHA-256, and that the reader knows the coordinator's public key by another way.
"""

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict

from fedloom.shared.keys import SigningKey
from fedloom.shared.signing import is_signed
from fedloom.shared.wire.heads import Signature
from fedloom.shared.wire.messages import Digest

_SUMS_DOMAIN = b"fedloom-release-sums-1\n"


class SignatureFile(BaseModel):
    """Who signed, and the signature."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["fedloom-signature"] = "fedloom-signature"
    format: Literal[1] = 1
    public_key: Digest
    signature: Signature

    @classmethod
    def of(cls, digest: str, key: SigningKey) -> "SignatureFile":
        """The signature of a hex digest."""
        return cls(public_key=key.public, signature=key.sign(digest))

    def covers(self, digest: str) -> bool:
        """Whether the named key signed this digest."""
        return is_signed(digest, self.signature, self.public_key)

    def to_json(self) -> bytes:
        """The one form that the file has."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def sums_digest(content: bytes) -> str:
    """What the signature beside SHA256SUMS covers."""
    return hashlib.sha256(_SUMS_DOMAIN + content).hexdigest()
