"""What a ledger says, entry by entry, and the bytes that its hashes and signatures cover."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from fedloom.shared.config.values import Name
from fedloom.shared.wire.messages import Digest, TrainTask

# What the first entry follows.
BEGINNING = "0" * 64
_DOMAIN = b"fedloom-ledger-1\n"
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]


class Part(BaseModel):
    """Base of what is signed: frozen, unknown keys refused, one byte form."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def canonical(self) -> bytes:
        """The one byte form: JSON, keys sorted, no spaces."""
        tree = self.model_dump(mode="json")
        return json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()


class Charge(Part):
    """What one round costs. `noise_multiplier` 0 marks a run without privacy, which no epsilon
    covers; neither does any cover `seeded` noise, which whoever knows the seed can take off again.
    `metric_noise` is that of the metric which the round releases, and is left out, also of the
    one byte form, where it releases none.
    """

    task: Digest
    plan: Digest
    round: Annotated[int, Field(ge=1)]
    unit: str
    seeded: bool
    noise_multiplier: Annotated[float, Field(ge=0)]
    sample_rate: Annotated[float, Field(gt=0, le=1)]
    steps: Annotated[int, Field(ge=1)]
    metric_noise: Annotated[float, Field(gt=0)] | None = None

    @model_serializer(mode="wrap")
    def _without_nothing(self, whole: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = whole(self)
        return {key: value for key, value in tree.items() if value is not None}


class Opening(Part):
    """The first entry: whose ledger it is. A ledger without it was lost, not begun."""

    format: Literal[1] = 1
    number: Literal[1] = 1
    event: Literal["opened"] = "opened"
    at: Time
    previous: Annotated[str, Field(pattern=r"^0{64}$")] = BEGINNING
    site: Name
    public_key: Digest


class Entry(Part):
    """One event of one charge.

    `reserved` before training, with the SHA-256 of the key that all its `draws` come from; then
    `released` once the update with SHA-256 `sealed` is kept, or `voided` by a steward. `at` is
    the site's clock, UTC. `previous` is the digest of the entry before.
    """

    format: Literal[1] = 1
    number: Annotated[int, Field(ge=2)]
    event: Literal["reserved", "released", "voided"]
    at: Time
    previous: Digest
    draws: Digest | None = None
    sealed: Digest | None = None
    charge: Charge


def now() -> str:
    """The site's clock, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def digest_of(body: bytes) -> str:
    """What the next entry names, and what is signed: SHA-256 over a prefix and the body."""
    return hashlib.sha256(_DOMAIN + body).hexdigest()


def charge_of(task: TrainTask) -> Charge:
    """What one round of the task's plan costs at the task's site."""
    site, metrics = task.plan.site(task.site), task.plan.metrics
    return Charge(
        task=task.sha256,
        plan=task.plan.sha256,
        round=task.round,
        unit=task.plan.privacy.unit,
        seeded=task.plan.privacy.seeded,
        # A plan's word on noise means nothing when it trains without any.
        noise_multiplier=site.noise_multiplier if task.plan.privacy.private else 0.0,
        sample_rate=site.sample_rate,
        steps=task.plan.training.steps_in(task.round),
        metric_noise=metrics.noise_multiplier if metrics.measures(task.round) else None,
    )
