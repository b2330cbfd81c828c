"""The sections of `federation.toml`, each a frozen model that refuses unknown keys."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Below this noise, epsilon is in the hundreds and the accountant's grid grows without end.
LEAST_NOISE = 0.2
# Below this, the accountant's own arithmetic error is no longer small beside delta.
LEAST_DELTA = 1e-12
# Beyond these, arithmetic ends before training does: a request of that kind is a mistake or worse.
MOST_NOISE = 1e4
MOST_STEPS = 1_000_000
# The name of all sites' held-out records together, beside the sites' own names.
JOINT = "joint"
# The grouping of records that every evaluation has.
SITE = "site"

# Strict: `true` is no number, and "8" is text. A whole number is still a float.
Integer = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
OpenFraction = Annotated[Number, Field(gt=0, lt=1)]
Positive = Annotated[Number, Field(gt=0)]
Rate = Annotated[Positive, Field(le=1e4)]
Count = Annotated[Integer, Field(ge=1)]
Steps = Annotated[Count, Field(le=MOST_STEPS)]
Column = Annotated[str, Field(min_length=1, max_length=200)]
# The name of what is protected: a column, or `record`.
Unit = Column
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
FIGURE_PATTERN = r"^[^.\s]+\.\S+$"


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FederationSection(Section):
    """`[federation]`: what this federation is called in reports and folders."""

    name: Name


# How a base model's frozen weights are held: as they are, or in 4 bits (QLoRA).
Quantization = Literal["none", "nf4"]


class ModelSection(Section):
    """`[model]`: the base model, a folder or a hub id; weights must be safetensors."""

    path: str = Field(min_length=1)
    max_length: Annotated[Integer, Field(ge=2, le=8192)] = 128
    quantization: Quantization = "none"


class TaskSection(Section):
    """`[task]`: what the adapter learns. Labels in the order of their class numbers.

    `causal-lm` and `seq2seq` learn to answer prompts; with labels, one of them is the answer,
    and without, any text. `pooling` is how a classifier sees a text: through the model's own
    head, or by the mean over its tokens, which suits encoders made for sentence embeddings.
    """

    kind: Literal["classification", "causal-lm", "seq2seq"] = "classification"
    labels: tuple[str, ...] = Field(default=(), max_length=1000)
    pooling: Literal["model", "mean"] = "model"

    def check_quantization(self, wanted: Quantization) -> None:
        """Refuse a fresh head on quantised weights: it would be quantised with them.

        Raises:
            ValueError: a classifier is to be held in few bits.
        """
        if wanted != "none" and self.kind == "classification":
            raise ValueError(
                f'model.quantization "{wanted}" contradicts task.kind "{self.kind}", '
                "expected a task that answers"
            )

    @model_validator(mode="after")
    def _only_texts_are_pooled(self) -> Self:
        if self.pooling != "model" and self.kind != "classification":
            raise ValueError(f'pooling "{self.pooling}" contradicts kind "{self.kind}"')
        return self

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        if len(self.labels) < 2 and (self.labels or self.kind == "classification"):
            raise ValueError(f"labels are {list(self.labels)}, expected at least 2")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels are listed twice, expected each once")
        return self


class LoraSection(Section):
    """`[lora]`: LoRA's shape (Hu et al. 2021). No `targets` means PEFT's choice for the model."""

    rank: Annotated[Integer, Field(ge=1, le=256)] = 8
    alpha: Annotated[Positive, Field(le=1e4)] = 16.0
    dropout: Fraction = 0.0
    targets: tuple[str, ...] = ()
    last_layers: Count | None = None
    init_seed: Annotated[Integer, Field(ge=0, lt=2**63)] = 0


class LoraRequest(LoraSection):
    """`[lora]` as people ask for it: `start` is a PEFT folder made from public data alone, from
    which the first round starts; the plan has its digest."""

    start: Path | None = None


class PrivacyTerms(Section):
    """What each site promises to each privacy unit over the whole run.

    `unit` is `record` or the name of a column (patient, customer, author); at most `unit_cap`
    records of a unit, drawn at random, are used in a step. `noise_seed` makes a simulation
    repeatable and voids the guarantee: every output then says so. `automatic` clipping brings
    every unit's gradient to about the clip norm, `flat` only those beyond it. Without privacy,
    the terms that speak of noise mean nothing.
    """

    mode: Literal["dp-sgd", "none"] = "dp-sgd"
    epsilon: Positive | None = None
    noise_multiplier: Annotated[Number, Field(ge=LEAST_NOISE, le=MOST_NOISE)] | None = None
    delta: Annotated[Number, Field(ge=LEAST_DELTA, lt=1)] = 1e-5
    # In fp32 the clipped sum and its noise keep their precision well within these.
    clip_norm: Annotated[Number, Field(ge=1e-6, le=1e6)] = 1.0
    clipping: Literal["flat", "automatic"] = "flat"
    unit: Unit = "record"
    unit_cap: Annotated[Count, Field(le=100_000)] = 16
    relation: Literal["add-or-remove-one-unit"] = "add-or-remove-one-unit"
    accountant: Literal["prv"] = "prv"
    noise_seed: Annotated[Integer, Field(ge=0)] | None = None

    @property
    def private(self) -> bool:
        """Whether sites train with differential privacy at all."""
        return self.mode == "dp-sgd"

    @property
    def seeded(self) -> bool:
        """Whether noise is repeatable, hence worthless as protection."""
        return self.private and self.noise_seed is not None

    @property
    def protects(self) -> bool:
        """Whether what leaves is covered by an epsilon."""
        return self.private and not self.seeded


class PrivacySection(PrivacyTerms):
    """`[privacy]`: the terms as people ask for them.

    `epsilon` asks for the noise that gives it; `noise_multiplier` fixes the noise, and the plan
    states the epsilon; exactly one of the two with privacy, and nothing of noise without it.
    """

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = self.model_fields_set
        if self.mode == "none":
            clash = sorted(
                given & {"epsilon", "noise_multiplier", "delta", "clip_norm", "clipping"}
            )
            if clash:
                raise ValueError(f'mode "none" contradicts {", ".join(clash)}, expected neither')
        elif (self.epsilon is None) == (self.noise_multiplier is None):
            raise ValueError(
                'mode "dp-sgd" needs exactly one of epsilon and noise_multiplier, '
                + ("got neither" if self.epsilon is None else "got both")
            )
        return self


class TrainingSection(Section):
    """`[training]`: what a site does in one round.

    `local_steps` optimizer steps on Poisson batches of `expected_batch_size` units expected.
    `micro_tokens`, the padded tokens in memory at once, and `precision` are speed switches:
    they change rounding, not the guarantee; `auto` is decided in the plan, by what the
    coordinator's processor gains from bf16. In the first `head_rounds` rounds only the head
    trains, for `head_local_steps` steps (`local_steps` if left out). `schedule` and `warmup`, a
    fraction of the steps, say how rates move over the head rounds, and then over the others.
    """

    local_steps: Steps = 8
    head_rounds: Annotated[Integer, Field(ge=0, le=MOST_STEPS)] = 0
    head_local_steps: Steps | None = None
    expected_batch_size: Count = 256
    optimizer: Literal["sgd", "adam"] = "adam"
    learning_rate: Rate = 0.01
    head_learning_rate: Rate | None = None
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: Fraction = 0.0
    momentum: Fraction = 0.9
    micro_tokens: Annotated[Count, Field(le=1_048_576)] = 2048
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    def steps_in(self, round_number: int) -> int:
        """Optimizer steps of a site in one round."""
        head = self.head_local_steps or self.local_steps
        return head if round_number <= self.head_rounds else self.local_steps

    def steps_through(self, rounds: int) -> int:
        """Optimizer steps of a site in rounds 1 to `rounds` together."""
        head = min(rounds, self.head_rounds)
        return head * self.steps_in(1) + (rounds - head) * self.local_steps

    def check_rounds(self, total: int) -> None:
        """Make sure that `total` rounds hold the head rounds.

        Raises:
            ValueError: they do not.
        """
        if self.head_rounds > total:
            raise ValueError(
                f"training.head_rounds is {self.head_rounds}, expected at most rounds.total = "
                f"{total}"
            )


class AggregationSection(Section):
    """`[aggregation]`: how the server weaves updates. No `method` means the mode's default."""

    method: Literal["fedit", "ffa-lora"] | None = None
    weights: Literal["uniform", "declared"] = "uniform"
    server_momentum: Fraction = 0.0
    max_update_norm: Annotated[Positive, Field(le=1000)] = 100.0


class RoundsSection(Section):
    """`[rounds]`: how many, how few answers suffice, how long one may take."""

    total: Steps = 6
    quorum: Count | None = None
    deadline_seconds: Positive = 600.0


# What may leave a site beside the noised update.
ReleasedValue = Literal["held-out-accuracy"]


class MetricsSection(Section):
    """`[metrics]`: what sites tell beside their updates, noised and charged; nothing if left out.

    `held-out-accuracy` is how many held-out privacy units a site has and how many the adapter
    that a round starts from gets right, in rounds that `every` divides. `noise_multiplier` is the
    noise of each such release, as a multiple of what one unit can move.
    """

    values: tuple[ReleasedValue, ...] = ()
    every: Count = 10
    noise_multiplier: Annotated[Number, Field(ge=1, le=MOST_NOISE)] = 20.0

    def measures(self, round_number: int) -> bool:
        """Whether sites measure in a round."""
        return bool(self.values) and round_number % self.every == 0

    def check_covered(self, *, private: bool, rounds: int) -> None:
        """Make sure that an epsilon covers what is asked for, and that some round measures it.

        Raises:
            ValueError: one of the two is not so.
        """
        if self.values and not private:
            raise ValueError(
                'metrics.values contradicts privacy.mode "none": no epsilon would cover them, '
                "expected none"
            )
        if self.values and self.every > rounds:
            raise ValueError(
                f"metrics.every is {self.every}, expected at most rounds.total = {rounds}, or "
                "nothing is ever measured"
            )


class SiteSection(Section):
    """`[[data.sites]]`: one institution and its records.

    `declared_units` is the public size that fixes sample rate and weight; in simulation it may
    be left out, and the counted size is then treated as public.
    """

    name: Name
    path: Path
    declared_units: Count | None = None


class DataSection(Section):
    """`[data]`: columns and sites. CSV, JSONL and Parquet are read.

    `text` is what is classified or asked, `label` the class or answer. `messages` instead names
    a column of chats: lists of turns with role and content, of which the last is the answer.
    """

    text: str = "text"
    label: str = "label"
    messages: str | None = None
    sites: tuple[SiteSection, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [site.name for site in self.sites]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"two sites are named {twice}, expected different names")
        if JOINT in names:
            raise ValueError(f"a site is named {JOINT}, which is all sites' records together")
        return self

    @property
    def undeclared(self) -> tuple[str, ...]:
        """Sites whose public size is left out: only their records tell it, in a simulation."""
        return tuple(site.name for site in self.sites if site.declared_units is None)


# A suite of this name is the one that comes with FedLoom, unless a file has the name.
DEFAULT_SUITE = "default"


class EvaluationSection(Section):
    """`[evaluation]`: what is held out, by privacy unit, and how it is scored.

    `holdout = "validation"` sets the test units aside untouched and scores a part of the rest:
    for choosing hyperparameters. `curve_records` bounds the records scored after each round.
    `suite` is a file of audits for the final adapter, and for the one after every `every` rounds
    if that is not 0. `groups` are columns whose values part the held-out records of a simulation,
    for audits alone: nothing is trained by them. `non_private_learning_rate` is for the comparison
    without privacy, which wants its own, as `non_private_head_learning_rate` is for its head.
    """

    holdout: Literal["test", "validation"] = "test"
    test_fraction: OpenFraction = 0.2
    validation_fraction: OpenFraction = 0.125
    curve_records: Annotated[Integer, Field(ge=0)] = 1000
    bootstrap: Annotated[Integer, Field(ge=100, le=100_000)] = 1000
    batch_size: Count = 64
    suite: Path | None = None
    every: Annotated[Integer, Field(ge=0)] = 0
    groups: tuple[Column, ...] = ()
    non_private_learning_rate: Rate | None = None
    non_private_head_learning_rate: Rate | None = None

    @model_validator(mode="after")
    def _groups_are_measured(self) -> Self:
        if self.groups and self.suite is None:
            raise ValueError("groups need suite, whose audits part records by them")
        if len(set(self.groups)) != len(self.groups):
            raise ValueError("groups are listed twice, expected each once")
        if SITE in self.groups:
            raise ValueError(f"groups name {SITE}, which every evaluation has, expected others")
        return self
