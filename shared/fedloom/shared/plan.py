"""The plan: everything that decides what a run does and what it costs in privacy, frozen.

A plan is made once from a config, has one canonical byte form, and is named by the SHA-256 of
those bytes. Every site gets the bytes, checks the hash and its own policy, and trains by them
alone; nothing outside the plan can change what a run releases.
"""

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

import tomli_w
from pydantic import Field, ValidationError, model_validator

from fedloom.shared.config.mitigation import MitigationSection
from fedloom.shared.config.privacy import MetricsSection, PrivacyTerms
from fedloom.shared.config.problems import explain
from fedloom.shared.config.sections import LoraSection, Quantization, TaskSection
from fedloom.shared.config.training import TrainingSection
from fedloom.shared.config.values import (
    MOST_NOISE,
    Count,
    Fraction,
    Integer,
    Name,
    Number,
    Positive,
    Section,
    Steps,
)
from fedloom.shared.errors import PlanError

_MILESTONES = 10


class ModelPlan(Section):
    """The base model by content: `sha256` is its fingerprint, `name` is for people: a hub id, or
    the last part of a folder's path."""

    name: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    max_length: Annotated[Integer, Field(ge=2, le=8192)]
    quantization: Quantization = "none"

    @property
    def described(self) -> str:
        """The name, and how the weights are held if not as they are."""
        return self.name if self.quantization == "none" else f"{self.name} in {self.quantization}"


class AggregationPlan(Section):
    """How updates are woven, with every default decided."""

    method: Literal["fedit", "ffa-lora"]
    weights: Literal["uniform", "declared"]
    server_momentum: Fraction = 0.0
    max_update_norm: Annotated[Positive, Field(le=1000)]


class RoundsPlan(Section):
    """How many rounds, how many updates each needs, and its deadline in seconds."""

    total: Steps
    quorum: Count
    deadline_seconds: Positive

    @property
    def milestones(self) -> tuple[int, ...]:
        """0, the last round, and rounds evenly between: for showing how a run goes."""
        points = min(self.total, _MILESTONES)
        return tuple(step * self.total // points for step in range(points + 1))


class SitePlan(Section):
    """One site's mechanism: a subsampled Gaussian run `steps` times over the whole run.

    `epsilon` is what those steps, and the plan's metrics with them, cost by the plan's
    accountant at the plan's delta; None without privacy. All of it follows from public numbers.
    """

    name: Name
    declared_units: Count
    sample_rate: Annotated[Positive, Field(le=1)]
    noise_multiplier: Annotated[Number, Field(ge=0, le=MOST_NOISE)]
    steps: Steps
    epsilon: Positive | None = None


class Plan(Section):
    """One run of a federation.

    `start_sha256` names the adapter that round 1 starts from; None where that is a fresh one.
    `metrics` are what sites release beside their updates: by default nothing. `mitigation` is
    what they do to records' losses against bias: None for nothing.
    """

    format: Literal[1] = 1
    name: Name
    model: ModelPlan
    task: TaskSection
    lora: LoraSection
    start_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    privacy: PrivacyTerms
    training: TrainingSection
    aggregation: AggregationPlan
    rounds: RoundsPlan
    metrics: MetricsSection = MetricsSection()
    mitigation: MitigationSection | None = None
    sites: tuple[SitePlan, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _decided(self) -> Self:
        if self.training.precision == "auto":
            raise ValueError("training.precision is auto, expected fp32 or bf16 in a plan")
        self.training.check_rounds(self.rounds.total)
        self.metrics.check_covered(private=self.privacy.private, rounds=self.rounds.total)
        if self.mitigation is not None:
            self.mitigation.check_clipping(self.privacy.clipping, private=self.privacy.private)
        self.task.check_quantization(self.model.quantization)
        if len({site.name for site in self.sites}) != len(self.sites):
            raise ValueError("two sites have the same name, expected different ones")
        if not self.privacy.private and any(site.noise_multiplier for site in self.sites):
            raise ValueError('privacy.mode "none" contradicts a site\'s noise, expected 0')
        return self

    def canonical(self) -> bytes:
        """The one byte form that `sha256` is taken of: JSON, keys sorted, no spaces."""
        tree = self.model_dump(mode="json", exclude_none=True)
        # A value that was left out and the same value spelt out are the same plan.
        text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode()

    @property
    def promised_epsilon(self) -> float | None:
        """What is promised to every privacy unit of every site, None without privacy. With a
        fixed noise multiplier, sites differ; the promise is the weakest of them."""
        promised = [site.epsilon for site in self.sites if site.epsilon is not None]
        return self.privacy.epsilon or max(promised, default=None)

    @property
    def sha256(self) -> str:
        """Hex digest that names this plan."""
        return hashlib.sha256(self.canonical()).hexdigest()

    def site(self, name: str) -> SitePlan:
        """The named site's part.

        Raises:
            PlanError: the plan has no such site.
        """
        for site in self.sites:
            if site.name == name:
                return site
        raise PlanError(f"plan {self.sha256[:12]}: no site named {name}")

    def to_toml(self) -> str:
        """The plan for people and for `plan.toml`; reads back to the same hash."""
        tree = self.model_dump(mode="json", exclude_none=True)
        return f"# plan {self.sha256}\n" + tomli_w.dumps(tree)

    @classmethod
    def from_canonical(cls, content: bytes, *, sha256: str) -> "Plan":
        """Check a peer's bytes against the hash that was agreed and parse them.

        Raises:
            PlanError: the hash differs, or the content is no plan.
        """
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise PlanError(f"plan: bytes have sha256 {found[:12]}…, expected {sha256[:12]}…")
        try:
            plan = cls.model_validate_json(content)
        except ValidationError as error:
            raise PlanError(f"plan {sha256[:12]}: {explain(error, cls)[0]}") from error
        if plan.canonical() != content:
            raise PlanError(f"plan {sha256[:12]}: bytes are not in canonical form")
        return plan

    @classmethod
    def from_toml(cls, text: str, *, source: str = "plan.toml") -> "Plan":
        """Parse what `to_toml` wrote; `source` is where the text is from.

        Raises:
            PlanError: the text is no plan.
        """
        try:
            return cls.model_validate(tomllib.loads(text))
        except ValidationError as error:
            raise PlanError(f"{source}: no plan: {explain(error, cls)[0]}") from error
        except (ValueError, RecursionError) as error:
            raise PlanError(f"{source}: not TOML, expected what FedLoom wrote") from error


def differences(one: Plan, other: Plan) -> list[str]:
    """The keys in which two plans differ, such as `privacy.epsilon`; sites by `sites`."""
    return list(_different(one.model_dump(mode="json"), other.model_dump(mode="json"), ""))


def _different(
    one: Mapping[str, object], other: Mapping[str, object], prefix: str
) -> Iterator[str]:
    for key in one:
        here, there = one[key], other[key]
        if isinstance(here, dict) and isinstance(there, dict):
            yield from _different(here, there, f"{prefix}{key}.")
        elif here != there:
            yield f"{prefix}{key}"
