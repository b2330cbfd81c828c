"""LoRA on a base model through PEFT, and its tensors under the names that PEFT saves."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict

from fedloom.shared.adapter import Adapter
from fedloom.shared.config.sections import LoraSection
from fedloom.shared.errors import ModelError, WireError
from fedloom.shared.model.base import BaseModel, check_weights

_LIVE_PARTS = (".lora_A.default.", ".lora_B.default.", ".modules_to_save.default.")


def attach_lora(base: BaseModel, lora: LoraSection) -> PeftModel:
    """Wrap the base model; LoRA's A and any fresh head start from `lora.init_seed`.

    Raises:
        ModelError: a target matches no module, or something trains that is not saved.
    """
    layers = _last_layers(base, lora.last_layers)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) or None,
        layers_to_transform=layers,
        modules_to_save=list(base.heads),
        task_type=base.peft_task,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(lora.init_seed)
        try:
            model = get_peft_model(base.model, config)
        except ValueError as error:
            raise ModelError(f"lora.targets {list(lora.targets)}: match no layer") from error
    saved = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    if saved != set(live_parameters(model)):
        raise ModelError("adapter: PEFT would save other tensors than those that are trained")
    return model


def live_parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The adapter's parameters by the name under which PEFT saves them."""
    found: dict[str, torch.nn.Parameter] = {}
    for name, parameter in model.named_parameters():
        for part in _LIVE_PARTS:
            if part in name:
                plain = part.replace(".default", "").replace(".modules_to_save.", ".")
                found[name.replace(part, plain)] = parameter
    return found


def read_adapter(parameters: Mapping[str, torch.nn.Parameter]) -> Adapter:
    """Copy the current values out."""
    return Adapter.from_state(
        {
            name: values.detach().cpu().numpy().astype(np.float32)
            for name, values in parameters.items()
        }
    )


def write_adapter(parameters: Mapping[str, torch.nn.Parameter], adapter: Adapter) -> None:
    """Copy values in.

    Raises:
        WireError: the adapter's tensors are not those of the model.
    """
    state = adapter.state()
    shapes = {name: tuple(values.shape) for name, values in parameters.items()}
    if {name: values.shape for name, values in state.items()} != shapes:
        raise WireError("adapter: names or shapes differ from the model's, expected the same plan")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(state[name])))


def save_peft_folder(model: PeftModel, folder: Path, *, base_name: str) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`, loadable by anyone's PEFT."""
    # PEFT would write down where the base model lay on this machine.
    config = model.peft_config["default"]
    config.base_model_name_or_path = base_name
    # PEFT adds the heads that such a task could have, whether the model has them or not.
    config.modules_to_save = list(dict.fromkeys(config.modules_to_save or ())) or None
    # A set's order is another in each process: the same adapter must be the same bytes.
    if isinstance(config.target_modules, set):
        config.target_modules = sorted(config.target_modules)
    # Without the flag PEFT asks the hub whether the vocabulary grew; a site never asks anyone.
    model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)


def load_peft_folder(base: BaseModel, folder: Path) -> PeftModel:
    """Load an adapter folder on its base model.

    Raises:
        ModelError: the folder holds no adapter for this model.
    """
    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(f"adapter {folder}: no adapter_model.safetensors, expected a PEFT folder")
    check_weights(folder / "adapter_model.safetensors")
    try:
        return PeftModel.from_pretrained(base.model, str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"adapter {folder}: does not fit the base model") from error


def _last_layers(base: BaseModel, count: int | None) -> list[int] | None:
    if count is None:
        return None
    total = int(getattr(base.model.config, "num_hidden_layers", 0))
    if count > total:
        raise ModelError(f"lora.last_layers is {count}, expected at most the model's {total}")
    return list(range(total - count, total))
