"""The base model: found, fingerprinted, loaded without dropout and without pickle."""

import hashlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from fedloom.shared.errors import ModelError
from fedloom.shared.files import is_folder, sha256_file

_HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")
_PARTS = ("*.safetensors", "config.json", "tokenizer*", "vocab*", "merges*", "spiece*", "*.model")
_DROPOUT_KEYS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "dropout",
    "attention_dropout",
    "seq_classif_dropout",
)


class Tokenizer(Protocol):
    """What FedLoom uses of a Hugging Face tokenizer."""

    model_max_length: int

    def __call__(
        self, text: list[str], *, truncation: bool, max_length: int
    ) -> Mapping[str, list[list[int]]]:
        """Token ids of each text under `input_ids`."""

    def pad(
        self,
        encoded: list[dict[str, list[int]]],
        *,
        pad_to_multiple_of: int,
        return_tensors: str,
    ) -> Mapping[str, torch.Tensor]:
        """Rows padded to one length, with their attention mask."""


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """A loaded base model. `heads` names modules whose weights the checkpoint did not have."""

    model: PreTrainedModel
    tokenizer: Tokenizer
    heads: tuple[str, ...]


def resolve_model(reference: str, *, offline: bool = True) -> Path:
    """Folder of a local model, or of a hub id (from the hub's local cache when `offline`).

    Raises:
        ModelError: there is neither such a folder nor such a hub id at hand.
    """
    folder = Path(reference)
    if is_folder(folder):
        return folder
    if not _HUB_ID.match(reference):
        raise ModelError(f"model {reference}: no such folder, and not a hub id like name/model")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        found = snapshot_download(reference, allow_patterns=list(_PARTS), local_files_only=offline)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        place = "the local hub cache" if offline else "the hub"
        raise ModelError(
            f"model {reference}: no such folder, and not in {place}; expected a model folder"
        ) from error
    return Path(found)


def deciding_files(folder: Path) -> list[Path]:
    """The files that decide the model's function, by name."""
    return sorted({path for part in _PARTS for path in folder.glob(part) if path.is_file()})


def fingerprint(folder: Path) -> str:
    """SHA-256 over names and contents of the files that decide the model's function.

    Raises:
        ModelError: no config.json or no safetensors weights (pickled weights are never read).
    """
    files = deciding_files(folder)
    names = {path.name for path in files}
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise ModelError(f"model {folder}: expected config.json and *.safetensors in the folder")
    lines = [f"{path.name} {sha256_file(path)}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def load_classifier(folder: Path, *, labels: tuple[str, ...], seed: int) -> BaseModel:
    """Load a sequence classifier with one output a label; a missing head starts from `seed`.

    All dropout is off: under differential privacy the noise regularises, and a run must not
    depend on a generator that nobody accounts for.

    Raises:
        ModelError: the folder holds no model that can classify sequences.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model, info = AutoModelForSequenceClassification.from_pretrained(
                folder,
                num_labels=len(labels),
                id2label=dict(enumerate(labels)),
                label2id={label: number for number, label in enumerate(labels)},
                local_files_only=True,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                dtype=torch.float32,
                # On a processor the fused attention's backward pass takes most of a step at
                # these lengths; spelt out, a bf16 step is 1.7 times as fast.
                attn_implementation="eager",
                **_no_dropout(folder),
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"model {folder}: cannot be loaded as a classifier") from error
    tokenizer.model_max_length = min(tokenizer.model_max_length, _positions(model))
    fresh = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    heads = sorted({_head_of(key, model.base_model_prefix) for key in fresh})
    return BaseModel(model=model, tokenizer=tokenizer, heads=tuple(heads))


def _positions(model: torch.nn.Module) -> int:
    """How many tokens the model has positions for; many tokenizers do not know."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            # RoBERTa counts positions from behind its padding index.
            offset = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - offset
    return sys.maxsize


def _no_dropout(folder: Path) -> dict[str, float]:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    return {key: 0.0 for key in _DROPOUT_KEYS if hasattr(config, key)}


def _head_of(key: str, backbone: str) -> str:
    # A fresh module outside the backbone is saved whole; inside it, only the module itself.
    path = key.split(".")
    return path[0] if path[0] != backbone else ".".join(path[:-1])
