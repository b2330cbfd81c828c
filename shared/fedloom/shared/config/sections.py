"""The sections of `federation.toml`, each a frozen model that refuses unknown keys: those on
model, task, LoRA, aggregation and rounds."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fedloom.shared.config.values import Count, Fraction, Integer, Name, Positive, Section, Steps


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
