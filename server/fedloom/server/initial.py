"""The adapter that every site starts from, and the adapter folder that a run ends with."""

from pathlib import Path

from fedloom.server.start import check_start, read_start
from fedloom.shared.adapter import Adapter
from fedloom.shared.errors import ModelError
from fedloom.shared.model.base import fingerprint
from fedloom.shared.model.card import AdapterCard
from fedloom.shared.model.lora import (
    attach_lora,
    live_parameters,
    read_adapter,
    save_peft_folder,
    write_adapter,
)
from fedloom.shared.plan import Plan
from fedloom.shared.tasks.registry import load_base


def check_model(plan: Plan, folder: Path) -> None:
    """Make sure that the folder holds the plan's base model.

    Raises:
        ModelError: its fingerprint is another.
    """
    found = fingerprint(folder)
    if found != plan.model.sha256:
        raise ModelError(
            f"model {folder}: fingerprint {found[:12]}…, expected the plan's "
            f"{plan.model.sha256[:12]}…"
        )


def initial_adapter(plan: Plan, folder: Path, start: Path | None = None) -> Adapter:
    """LoRA's random A, zero B, and a random head where the model has none; from the plan's seed.

    Or, where the plan names a start, the adapter in the folder `start`.

    Raises:
        ModelError: a folder holds another model or start than the plan's.
    """
    check_model(plan, folder)
    base = load_base(plan, folder)
    fresh = read_adapter(live_parameters(attach_lora(base, plan.lora)))
    if plan.start_sha256 is None:
        return fresh
    if start is None:
        raise ModelError(f"adapter {plan.start_sha256[:12]}…: not at hand, expected lora.start")
    found = read_start(start, plan.lora)
    check_start(found, start, plan, fresh.layout)
    return found


def start_in_words(plan: Plan) -> str:
    """What round 1 starts from, for people."""
    if plan.start_sha256:
        return "the public start"
    if plan.task.kind == "classification":
        return "the base model with an untrained head"
    return "the base model as it is"


def federation_in_words(plan: Plan) -> str:
    """How the run's own adapter is trained, for people."""
    how = (", private" if plan.privacy.private else "", ", mitigated" if plan.mitigation else "")
    return f"all sites together{''.join(how)}"


def save_adapter(plan: Plan, folder: Path, adapter: Adapter, *, target: Path) -> None:
    """Write `adapter` as a PEFT folder, head included, with a card that says what it is.

    Raises:
        ModelError: the folder holds another model than the plan's.
    """
    check_model(plan, folder)
    model = attach_lora(load_base(plan, folder), plan.lora)
    write_adapter(live_parameters(model), adapter)
    save_peft_folder(model, target, base_name=plan.model.name)
    AdapterCard.of(plan).write(target)
