"""Models and batches that the benchmarks of one step train on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from peft import TaskType
from torch.nn.functional import cross_entropy
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from fedloom.client.training.pieces import ClipGroup, clip_groups
from fedloom.shared.config.privacy import PrivacyTerms
from fedloom.shared.config.sections import LoraSection, TaskSection
from fedloom.shared.config.training import TrainingSection
from fedloom.shared.model.base import BaseModel, Tokenizer
from fedloom.shared.model.loading import load_classifier
from fedloom.shared.plan import AggregationPlan, ModelPlan, Plan, RoundsPlan, SitePlan
from fedloom.shared.tasks.base import Batch, Example, Task
from fedloom.shared.tasks.registry import make_task

LABELS = ("negative", "positive")
NO_LOSS = -100
Precision = Literal["fp32", "bf16"]

# Stands in for SmolLM2-135M: random weights, the same times.
SMOLLM2_SHAPE = LlamaConfig(
    vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
    num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=2048,
    tie_word_embeddings=True, attn_implementation="eager",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A model, its task, and one batch; `load` gives a fresh copy of the base model each time."""

    load: Callable[[], BaseModel]
    task: Task
    tokenizer: Tokenizer
    plan: Plan
    examples: tuple[Example, ...]

    def batch(self) -> Batch:
        return self.task.collate(self.examples, self.tokenizer)

    @property
    def groups(self) -> list[ClipGroup]:
        """The batch as one piece."""
        each = [(at,) for at in range(len(self.examples))]
        budget = sum(len(example.tokens) + 8 for example in self.examples)
        return list(clip_groups(each, self.examples, max_tokens=budget))


class NextToken:
    """The loss of every next token, mean over a row: no row sees another."""

    def collate(self, examples: Sequence[Example], _tokenizer: Tokenizer) -> Batch:
        """Rows of one length, as the benchmarks draw them."""
        tokens = torch.tensor([example.tokens for example in examples])
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        ends = tokens.new_full((len(tokens), 1), NO_LOSS)
        return Batch(inputs=inputs, labels=torch.cat([tokens[:, 1:], ends], dim=1))

    def losses(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Shape (batch,)."""
        logits, labels = model(**batch.inputs).logits.float(), batch.labels
        by_token = cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=NO_LOSS, reduction="none"
        )
        return by_token.view_as(labels).sum(dim=1) / (labels != NO_LOSS).sum(dim=1)


def encoder(
    folder: Path,
    *,
    targets: Sequence[str],
    batch: int,
    tokens: int,
    precision: Precision = "fp32",
) -> Workload:
    """Classification by a BERT in `folder`, on rows of random tokens without padding."""

    vocabulary = AutoConfig.from_pretrained(folder, local_files_only=True).vocab_size
    return Workload(
        load=partial(load_classifier, folder, head="text", labels=LABELS, seed=0),
        task=make_task(TaskSection(labels=LABELS)),
        tokenizer=AutoTokenizer.from_pretrained(folder, local_files_only=True),
        plan=plan_of(targets=targets, batch=batch, precision=precision),
        examples=_random_examples(vocabulary, batch=batch, tokens=tokens),
    )


def causal(folder: Path | None, *, targets: Sequence[str], batch: int, tokens: int) -> Workload:
    """A Llama-style language model in `folder`, or one of SmolLM2-135M's shape at random."""

    config = SMOLLM2_SHAPE if folder is None else AutoConfig.from_pretrained(folder)

    def load() -> BaseModel:
        torch.manual_seed(0)
        model = LlamaForCausalLM(config) if folder is None else _from(folder)
        model.config.use_cache = False
        return BaseModel(
            model=model, tokenizer=_NoTokenizer(), heads=(), peft_task=TaskType.CAUSAL_LM
        )

    return Workload(
        load=load,
        task=NextToken(),
        tokenizer=_NoTokenizer(),
        plan=plan_of(targets=targets, batch=batch),
        examples=_random_examples(config.vocab_size, batch=batch, tokens=tokens),
    )


def plan_of(*, targets: Sequence[str], batch: int, precision: Precision = "fp32") -> Plan:
    """A private plan of one site, of which benchmarks read LoRA, optimizer and clip norm."""
    site = SitePlan(name="bench", declared_units=1, sample_rate=1.0, noise_multiplier=1.0, steps=1)
    return Plan(
        name="bench",
        model=ModelPlan(name="bench", sha256="0" * 64, max_length=128),
        task=TaskSection(labels=LABELS),
        lora=LoraSection(targets=tuple(targets)),
        privacy=PrivacyTerms(noise_multiplier=1.0),
        training=TrainingSection(expected_batch_size=batch, precision=precision),
        aggregation=AggregationPlan(method="fedit", weights="uniform", max_update_norm=100.0),
        rounds=RoundsPlan(total=1, quorum=1, deadline_seconds=60.0),
        sites=(site,),
    )


def _from(folder: Path) -> PreTrainedModel:
    transformers_logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32, attn_implementation="eager"
    )


def _random_examples(vocabulary: int, *, batch: int, tokens: int) -> tuple[Example, ...]:
    draw = torch.Generator().manual_seed(1)
    rows = torch.randint(0, vocabulary, (batch, tokens), generator=draw).tolist()
    return tuple(Example(tokens=tuple(row), label=at % 2) for at, row in enumerate(rows))


class _NoTokenizer:
    model_max_length = 0
