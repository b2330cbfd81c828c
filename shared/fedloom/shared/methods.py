"""Which tensors of an adapter the sites train, by aggregation method.

Both sides need it: a site to know what to train and clip, the server to know what to expect.
"""

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


TRAINS: Mapping[str, Trains] = MappingProxyType({"fedit": everything, "ffa-lora": all_but_a})


def trained_layout(method: str, layout: AdapterLayout) -> AdapterLayout:
    """The part of `layout` that sites train and send under `method`."""
    trains = TRAINS[method]
    return layout.select(frozenset(name for name in layout.names if trains(name)))
