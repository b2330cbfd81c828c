"""Which tensors of an adapter the sites train: by aggregation method, or the head alone."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from fedloom.shared.adapter import AdapterLayout

Trains = Callable[[str], bool]


def is_lora_a(name: str) -> bool:
    """Whether the tensor is a LoRA A matrix (rank x in)."""
    return ".lora_A." in name


def is_lora(name: str) -> bool:
    """Whether the tensor belongs to LoRA, not to the head."""
    return ".lora_" in name


def everything(name: str) -> bool:
    """FedIT (Zhang et al. 2023): A, B and the head are trained."""
    return bool(name)


def all_but_a(name: str) -> bool:
    """FFA-LoRA (Sun et al. 2024): A stays at its shared random start; B and the head train."""
    return not is_lora_a(name)


def head_only(name: str) -> bool:
    """The head trains on what a frozen model says; LoRA stays as it is."""
    return not is_lora(name)


HEAD_ONLY = "head"
TRAINS: Mapping[str, Trains] = MappingProxyType(
    {"fedit": everything, "ffa-lora": all_but_a, HEAD_ONLY: head_only}
)


def trained_layout(trains: str, layout: AdapterLayout) -> AdapterLayout:
    """The part of `layout` that sites train and send under a rule of `TRAINS`."""
    rule = TRAINS[trains]
    return layout.select(frozenset(name for name in layout.names if rule(name)))
