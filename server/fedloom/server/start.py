"""A run's public start: an adapter from a PEFT folder, in place of a fresh one."""

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from fedloom.shared.adapter import Adapter, AdapterLayout
from fedloom.shared.config.sections import LoraSection
from fedloom.shared.errors import ModelError
from fedloom.shared.model.card import AdapterCard, has_card
from fedloom.shared.plan import Plan

_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


def read_start(folder: Path, lora: LoraSection) -> Adapter:
    """The adapter in a PEFT folder, which must say the same of LoRA as the config.

    Raises:
        ModelError: no such folder, or LoRA of another rank, scaling or kind.
    """
    said, adapter = read_peft(folder, called="lora.start")
    for key, value in _shape_of(lora).items():
        if said.get(key, False) != value:
            raise ModelError(
                f"lora.start {folder}: its {key} is {said.get(key)}, expected the config's {value}"
            )
    return adapter


def read_peft(folder: Path, *, called: str) -> tuple[dict[str, object], Adapter]:
    """What a PEFT folder says of LoRA, and its adapter; `called` is what to call it in errors.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        said = json.loads((folder / _CONFIG).read_bytes())
        tensors = load_file(folder / _WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"{called} {folder}: cannot be read, expected a PEFT folder with {_CONFIG} and "
            f"{_WEIGHTS}"
        ) from error
    state = {name: at.float().numpy() for name, at in tensors.items()}
    return dict(said), Adapter.from_state(state)


def _shape_of(lora: LoraSection) -> dict[str, object]:
    return {"r": lora.rank, "lora_alpha": lora.alpha, "use_rslora": False, "use_dora": False}


def check_start(start: Adapter, folder: Path, plan: Plan, layout: AdapterLayout) -> None:
    """Make sure that `start`, read from `folder`, is the plan's and fits its model's `layout`.

    Raises:
        ModelError: it is not, or does not.
    """
    if start.sha256 != plan.start_sha256:
        found, wanted = start.sha256[:12], str(plan.start_sha256)[:12]
        raise ModelError(f"lora.start {folder}: adapter {found}…, expected the plan's {wanted}…")
    # Only FedLoom's own folders say which label each output stands for.
    if has_card(folder) and AdapterCard.read(folder).task.labels != plan.task.labels:
        raise ModelError(
            f"lora.start {folder}: made for other labels, expected {', '.join(plan.task.labels)}, "
            "in this order"
        )
    different = set(start.layout.tensors) ^ set(layout.tensors)
    if different:
        name = min(spec.name for spec in different)
        raise ModelError(
            f"lora.start {folder}: {name} is missing, too much or of another shape, expected the "
            "config's targets, layers and labels"
        )
