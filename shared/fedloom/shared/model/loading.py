"""Loads base models without dropout, without pickle and without asking anyone."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch
from peft import TaskType
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from fedloom.shared.config.sections import Quantization
from fedloom.shared.errors import ModelError
from fedloom.shared.model.base import BaseModel
from fedloom.shared.model.quantization import holding

_DROPOUT_KEYS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "dropout",
    "attention_dropout",
    "seq_classif_dropout",
    "resid_pdrop",
    "embd_pdrop",
    "attn_pdrop",
    "dropout_rate",
)
_POSITION_KEYS = ("max_position_embeddings", "n_positions", "max_target_positions")
Head = Literal["text", "token"]
_HEADS: Mapping[Head, tuple[type[object], TaskType]] = MappingProxyType(
    {
        "text": (AutoModelForSequenceClassification, TaskType.SEQ_CLS),
        "token": (AutoModelForTokenClassification, TaskType.TOKEN_CLS),
    }
)
_IN_WORDS: Mapping[TaskType, str] = MappingProxyType(
    {
        TaskType.SEQ_CLS: "a model that can classify texts",
        TaskType.TOKEN_CLS: "a model that can classify tokens",
        TaskType.CAUSAL_LM: "a causal language model",
        TaskType.SEQ_2_SEQ_LM: "a sequence-to-sequence model",
    }
)
# A head that starts at random, as large as the vocabulary: nothing to train under privacy.
_LANGUAGE_HEAD = "a language model with all its weights"


def load_classifier(folder: Path, *, head: Head, labels: tuple[str, ...], seed: int) -> BaseModel:
    """Load a classifier of texts or of tokens, with one output a label.

    A missing head starts from `seed`.

    All dropout is off: under differential privacy the noise regularises, and a run must not
    depend on a generator that nobody accounts for.

    Raises:
        ModelError: the folder holds no model that can classify sequences.
    """
    options = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: number for number, label in enumerate(labels)},
        "ignore_mismatched_sizes": True,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _load(folder, *_HEADS[head], options)


def load_causal(folder: Path, quantization: Quantization) -> BaseModel:
    """Load a causal language model; all dropout is off.

    Raises:
        ModelError: the folder holds no such model, or one without its head.
    """
    held = holding(quantization)
    return _whole(_load(folder, AutoModelForCausalLM, TaskType.CAUSAL_LM, held), folder)


def load_seq2seq(folder: Path, quantization: Quantization) -> BaseModel:
    """Load an encoder with its decoder; all dropout is off.

    Raises:
        ModelError: the folder holds no such model, or one without its head.
    """
    held = holding(quantization)
    return _whole(_load(folder, AutoModelForSeq2SeqLM, TaskType.SEQ_2_SEQ_LM, held), folder)


def _load(
    folder: Path, kind: type[object], peft_task: TaskType, options: Mapping[str, object]
) -> BaseModel:
    config = _config_of(folder)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        model, info = kind.from_pretrained(  # type: ignore[attr-defined]
            folder,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            dtype=torch.float32,
            # On a processor the fused attention's backward pass takes most of a step at
            # these lengths; spelt out, a bf16 step is 1.7 times as fast.
            attn_implementation="eager",
            **_no_dropout(config),
            **options,
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        wanted = _IN_WORDS[peft_task]
        raise ModelError(f"model {folder}: cannot be loaded, expected {wanted}") from error
    model.config.use_cache = False
    tokenizer.model_max_length = min(tokenizer.model_max_length, _positions(model))
    fresh = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    heads = sorted({_head_of(key, model.base_model_prefix) for key in fresh})
    return BaseModel(model=model, tokenizer=tokenizer, heads=tuple(heads), peft_task=peft_task)


def _whole(base: BaseModel, folder: Path) -> BaseModel:
    if base.heads:
        missing = ", ".join(base.heads)
        raise ModelError(f"model {folder}: no weights for {missing}, expected {_LANGUAGE_HEAD}")
    return base


def _positions(model: PreTrainedModel) -> int:
    """How many tokens the model has positions for; many tokenizers do not know.

    A longer row would be an error, which a server could ask for to learn that a record is long.
    """
    found = [getattr(model.config, key, None) for key in _POSITION_KEYS]
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            # RoBERTa counts positions from behind its padding index.
            offset = 0 if module.padding_idx is None else module.padding_idx + 1
            found.append(module.num_embeddings - offset)
    return min((limit for limit in found if isinstance(limit, int)), default=sys.maxsize)


def _config_of(folder: Path) -> PretrainedConfig:
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"model {folder}: its config.json cannot be read") from error
    # The plan says how weights are held; a folder that decides it itself would contradict it.
    if getattr(config, "quantization_config", None) is not None:
        raise ModelError(
            f"model {folder}: its weights are quantised already, expected plain ones "
            "(model.quantization holds them in few bits)"
        )
    return config


def _no_dropout(config: PretrainedConfig) -> dict[str, float]:
    return {key: 0.0 for key in _DROPOUT_KEYS if hasattr(config, key)}


def _head_of(key: str, backbone: str) -> str:
    # A fresh module outside the backbone is saved whole; inside it, only the module itself.
    path = key.split(".")
    return path[0] if path[0] != backbone else ".".join(path[:-1])
