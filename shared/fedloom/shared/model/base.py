"""The base model: found and fingerprinted; what loading it gives."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, Protocol

import torch
from peft import TaskType
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from fedloom.shared.errors import ModelError
from fedloom.shared.files import is_folder, sha256_file

_HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")
_PARTS = (
    "*.safetensors",
    "config.json",
    "tokenizer*",
    "vocab*",
    "merges*",
    "spiece*",
    "*.model",
    "chat_template*",
)
_VOCABULARIES = ("tokenizer.json", "vocab*", "spiece*", "*.model")


class Tokenizer(Protocol):
    """What FedLoom uses of a Hugging Face tokenizer."""

    model_max_length: int

    eos_token_id: int | None

    def __call__(
        self,
        text: list[str],
        *,
        truncation: bool = False,
        max_length: int | None = None,
        add_special_tokens: bool = True,
    ) -> Mapping[str, list[list[int]]]:
        """Token ids of each text under `input_ids`."""

    def get_vocab(self) -> dict[str, int]:
        """Every token with its id."""

    def apply_chat_template(
        self,
        conversation: list[dict[str, str]],
        *,
        tokenize: Literal[False],
        add_generation_prompt: bool = False,
    ) -> str:
        """The turns as one text, in the model's own form."""

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
    """A loaded base model. `heads` names modules whose weights the checkpoint did not have;
    `peft_task` is what PEFT calls a model of this kind."""

    model: PreTrainedModel
    tokenizer: Tokenizer
    heads: tuple[str, ...]
    peft_task: TaskType


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


def check_weights(path: Path) -> None:
    """Make sure that a file of weights is whole; its header tells how long it must be.

    Raises:
        ModelError: it is cut short or no safetensors file.
    """
    try:
        with safe_open(path, framework="pt"):
            return
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: damaged, expected a whole safetensors file") from error


def deciding_files(folder: Path) -> list[Path]:
    """The files that decide the model's function, by name."""
    return sorted({path for part in _PARTS for path in folder.glob(part) if path.is_file()})


def fingerprint(folder: Path) -> str:
    """SHA-256 over names and contents of the files that decide the model's function.

    Raises:
        ModelError: no config.json, vocabulary or safetensors weights (pickled weights are never
            read), or weights that are cut short.
    """
    files = deciding_files(folder)
    names = {path.name for path in files}
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise ModelError(f"model {folder}: expected config.json and *.safetensors in the folder")
    # Without one, transformers makes a tokenizer that knows no word.
    if not any(fnmatch(name, part) for name in names for part in _VOCABULARIES):
        raise ModelError(f"model {folder}: no vocabulary, expected tokenizer.json or vocab.*")
    for path in files:
        if path.suffix == ".safetensors":
            check_weights(path)
    lines = [f"{path.name} {sha256_file(path)}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
