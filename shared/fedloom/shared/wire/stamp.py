"""What makes a question good once and for a while: a number of its own, and its end."""

import secrets
import time
from typing import Annotated, Literal

from pydantic import Field

from fedloom.shared.wire.frame import Header
from fedloom.shared.wire.messages import Digest

# Clocks of institutions differ; what it bounds is for how long an old task may be brought up.
_CLOCKS_SECONDS = 3600.0


class Stamp(Header):
    """Covered by the coordinator's signature. `nonce` makes each asking another, so that no
    answer to one is an answer to the next; after `expires` (seconds since 1970) a site trains on
    it no more."""

    kind: Literal["stamp"] = "stamp"
    format: Literal[1] = 1
    nonce: Digest
    expires: Annotated[float, Field(ge=0, le=1e11)]

    @classmethod
    def fresh(cls, *, seconds: float) -> "Stamp":
        """For a question that is to be answered within `seconds`."""
        expires = time.time() + seconds + _CLOCKS_SECONDS
        return cls(nonce=secrets.token_hex(32), expires=expires)

    @property
    def is_over(self) -> bool:
        """Whether it has come to its end, by this machine's clock."""
        return time.time() > self.expires
