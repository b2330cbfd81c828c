"""Remembers which models passed the self-check, so that a site checks each once."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from fedloom.shared.files import OWNER_ONLY, write_durably
from fedloom.shared.phases import Phase
from fedloom.shared.plan import Plan

_LIBRARIES = ("fedloom", "torch", "transformers", "peft", "opacus", "bitsandbytes")


class PassedChecks:
    """A folder with one file for each check that passed.

    Guarantee: `holds` is true only for what passed with the same base model, task, adapter,
    trained tensors, precision, libraries, processor features and code of FedLoom's own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def holds(self, plan: Plan, phase: Phase, device: torch.device) -> bool:
        """Whether this plan's model passed before."""
        return self._file(_deciding(plan, phase, device)).is_file()

    def keep(self, plan: Plan, phase: Phase, device: torch.device) -> None:
        """It has passed now."""
        deciding = _deciding(plan, phase, device)
        content = json.dumps(deciding, indent=2, sort_keys=True).encode()
        write_durably(self._file(deciding), content, mode=OWNER_ONLY)

    def _file(self, deciding: Mapping[str, object]) -> Path:
        text = json.dumps(deciding, sort_keys=True)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()}.passed"


def _deciding(plan: Plan, phase: Phase, device: torch.device) -> Mapping[str, object]:
    return {
        "model": plan.model.model_dump(),
        "task": plan.task.model_dump(),
        "lora": plan.lora.model_dump(),
        "trains": phase.trains,
        "precision": plan.training.precision,
        **surroundings(device),
    }


def surroundings(device: torch.device) -> Mapping[str, object]:
    """What a model's results depend on beside the plan: libraries, hardware, FedLoom's own code."""
    return {
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "processor": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "code": code_sha256(),
    }


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None  # An extra that is not installed.


@cache
def code_sha256() -> str:
    """A hash over what computes losses and gradients: a version may lag behind its code."""
    from fedloom.client import training
    from fedloom.shared import model, tasks

    digest = hashlib.sha256()
    for package in (training, tasks, model):
        for path in sorted(Path(package.__path__[0]).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
