"""The messages of one round: a task goes out, an update or a refusal comes back."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedloom.shared.adapter import Adapter, AdapterLayout, TensorSpec
from fedloom.shared.config.values import Name, Section, Unit
from fedloom.shared.plan import Plan
from fedloom.shared.wire.frame import Frame, Header, from_payload, to_payload

HELLO_QUERY = "query.hello"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Manifest = tuple[tuple[str, tuple[Annotated[int, Field(ge=1)], ...]], ...]


class TaskHeader(Header):
    """Header of a train task: the whole plan, so that the site need not trust a summary."""

    kind: Literal["train-task"] = "train-task"
    format: Literal[1] = 1
    plan: str
    plan_sha256: Digest
    site: Name
    round: Annotated[int, Field(ge=1)]
    manifest: Manifest


# A peer's number must not overflow what it is added to.
Noised = Annotated[float, Field(ge=-1e12, le=1e12)]


class HeldOut(Section):
    """What a site tells of its held-out privacy units in a measured round, both with noise.

    `units` is how many there are, `right` how many the round's starting adapter gets right.
    """

    units: Noised
    right: Noised


class UpdateHeader(Header):
    """Header of an update: public facts, and `held_out` where the plan measures; that alone
    depends on records, with noise that the ledger was charged for."""

    kind: Literal["adapter-update"] = "adapter-update"
    format: Literal[1] = 1
    plan_sha256: Digest
    site: Name
    round: Annotated[int, Field(ge=1)]
    layout_sha256: Digest
    steps_spent: Annotated[int, Field(ge=1)]
    epsilon_spent: Annotated[float, Field(ge=0)] | None
    held_out: HeldOut | None = None


class DeclaredBudget(Section):
    """What a site says of its budget, for each `unit` of its records and over all runs.

    It follows from the site's policy and from the public numbers of the plans that it answered.
    `epsilon_spent` is None when no epsilon covers what it answered.
    """

    unit: Unit
    delta: Annotated[float, Field(gt=0, lt=1)]
    epsilon_allowed: Annotated[float, Field(gt=0)]
    epsilon_spent: Annotated[float, Field(ge=0)] | None

    @property
    def described(self) -> str:
        """In words, for a person who plans a run."""
        if self.epsilon_spent is None:
            return "no epsilon is left: what was trained before is covered by none"
        left = max(0.0, self.epsilon_allowed - self.epsilon_spent)
        spent = f"epsilon {self.epsilon_spent:.2f} of {self.epsilon_allowed:.4g} spent"
        return f"{spent}, {left:.2f} left, at delta {self.delta:g} for each {self.unit}"


class HelloQuestion(Header):
    """The coordinator's question who a node is; its `nonce` makes each answer good once."""

    kind: Literal["hello-question"] = "hello-question"
    format: Literal[1] = 1
    nonce: Digest

    @classmethod
    def fresh(cls) -> "HelloQuestion":
        """A question that was never asked before."""
        return cls(nonce=secrets.token_hex(32))


class HelloHeader(Header):
    """Answer to the coordinator's question who a node is: the site's public name, and what is
    left of its budget."""

    kind: Literal["hello"] = "hello"
    format: Literal[1] = 1
    site: Name
    budget: DeclaredBudget | None


class RefusalHeader(Header):
    """A site's no: the name of the rule, and nothing else."""

    kind: Literal["refusal"] = "refusal"
    format: Literal[1] = 1
    site: Name
    rule: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]


@dataclass(frozen=True, kw_only=True)
class TrainTask:
    """Train `round` of `plan` from `adapter`, all tensors of the adapter included."""

    plan: Plan
    site: str
    round: int
    adapter: Adapter

    @property
    def sha256(self) -> str:
        """Names the task: two tasks with one digest ask for the very same release."""
        parts = (self.plan.sha256, self.site, str(self.round), self.adapter.sha256)
        return hashlib.sha256("/".join(parts).encode()).hexdigest()

    def pack(self) -> Frame:
        """As a frame."""
        header = TaskHeader(
            plan=self.plan.canonical().decode(),
            plan_sha256=self.plan.sha256,
            site=self.site,
            round=self.round,
            manifest=tuple((spec.name, spec.shape) for spec in self.adapter.layout.tensors),
        )
        return header.frame(to_payload(self.adapter.flat))

    @classmethod
    def unpack(cls, frame: Frame) -> "TrainTask":
        """Check and read a server's frame.

        Raises:
            WireError: malformed header or payload.
            PlanError: the plan's bytes do not have the stated hash.
        """
        header = TaskHeader.parse(frame.header)
        plan = Plan.from_canonical(header.plan.encode(), sha256=header.plan_sha256)
        specs = (TensorSpec(name=name, shape=shape) for name, shape in header.manifest)
        layout = AdapterLayout(tuple(specs))
        flat = from_payload(frame.payload, size=layout.size)
        adapter = Adapter(layout=layout, flat=flat)
        return cls(plan=plan, site=header.site, round=header.round, adapter=adapter)


@dataclass(frozen=True, kw_only=True)
class AdapterUpdate:
    """What one site releases in one round.

    `delta` is flat over the trained tensors, new value minus the task's; `steps_spent` and
    `epsilon_spent` are the site's totals for its dataset after this round, which follow from
    public numbers. `epsilon_spent` is None when the plan asks for no privacy, `held_out` when
    the round is not measured.
    """

    plan_sha256: str
    site: str
    round: int
    layout_sha256: str
    delta: NDArray[np.float32]
    steps_spent: int
    epsilon_spent: float | None
    held_out: HeldOut | None = None

    def pack(self) -> Frame:
        """As a frame."""
        header = UpdateHeader(
            plan_sha256=self.plan_sha256,
            site=self.site,
            round=self.round,
            layout_sha256=self.layout_sha256,
            steps_spent=self.steps_spent,
            epsilon_spent=self.epsilon_spent,
            held_out=self.held_out,
        )
        return header.frame(to_payload(self.delta))

    @classmethod
    def unpack(cls, frame: Frame, *, size: int) -> "AdapterUpdate":
        """Check and read a site's frame of `size` numbers.

        Raises:
            WireError: malformed header, wrong length, or numbers that are not finite.
        """
        header = UpdateHeader.parse(frame.header)
        fields = header.model_dump(exclude={"kind", "format", "held_out"})
        delta = from_payload(frame.payload, size=size)
        return cls(**fields, held_out=header.held_out, delta=delta)
