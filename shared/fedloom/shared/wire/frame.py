"""A frame: one small JSON header and one flat array of raw little-endian fp32."""

import hashlib
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from fedloom.shared.config.problems import explain
from fedloom.shared.errors import WireError

# A header holds a plan and a manifest; ten thousand tensors fit well below this.
MAX_HEADER_BYTES = 2 * 2**20


class Header(BaseModel):
    """Base of all headers: frozen, unknown fields refused, `format` fixed by each kind."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a peer's header.

        Raises:
            WireError: too large, not JSON, another version, or a field out of range.
        """
        if len(text.encode()) > MAX_HEADER_BYTES:
            raise WireError(f"{cls.__name__}: header above {MAX_HEADER_BYTES} bytes")
        try:
            header = cls.model_validate_json(text)
        except ValidationError as error:
            raise WireError(f"{cls.__name__}: {explain(error, cls)[0]}") from error
        if not {"kind", "format"} <= header.model_fields_set:
            raise WireError(f"{cls.__name__}: kind or format left out, expected both")
        return header

    def frame(self, payload: bytes = b"") -> "Frame":
        """This header, with a payload or alone."""
        return Frame(header=self.model_dump_json(), payload=payload)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What one message carries: `header` is JSON text, `payload` raw `<f4` bytes or empty."""

    header: str
    payload: bytes = b""

    @property
    def nbytes(self) -> int:
        """Bytes of content, without the transport's own envelope."""
        return len(self.header.encode()) + len(self.payload)

    @property
    def sha256(self) -> str:
        """Hex digest of header and payload; where the one ends is part of it."""
        header = self.header.encode()
        digest = hashlib.sha256(len(header).to_bytes(8, "big"))
        digest.update(header)
        digest.update(self.payload)
        return digest.hexdigest()


def to_payload(flat: NDArray[np.float32]) -> bytes:
    """Raw bytes of a flat array, little-endian fp32."""
    return np.ascontiguousarray(flat, dtype="<f4").tobytes()


def from_payload(payload: bytes, *, size: int) -> NDArray[np.float32]:
    """A peer's bytes as a writable array of `size` finite numbers.

    Raises:
        WireError: another length, or a number that is not finite.
    """
    if len(payload) != 4 * size:
        raise WireError(f"payload: {len(payload)} bytes, expected {4 * size}")
    flat = np.frombuffer(payload, dtype="<f4").astype(np.float32)
    if not np.isfinite(flat).all():
        raise WireError("payload: holds NaN or infinity, expected finite numbers")
    return flat
