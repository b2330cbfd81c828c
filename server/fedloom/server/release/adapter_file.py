"""An adapter from its safetensors file, without torch: a reader needs only the bytes."""

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from fedloom.shared.adapter import Adapter
from fedloom.shared.errors import ReleaseError


def parse_adapter(content: bytes, *, source: object) -> Adapter:
    """Layout and values, whose digest the run's journal and checkpoints have.

    Raises:
        ReleaseError: no safetensors file, or other numbers than fp32.
    """
    try:
        state = load(content)
    # Of a kind of number that numpy does not know.
    except (SafetensorError, KeyError) as error:
        raise ReleaseError(f"{source}: damaged, expected a safetensors file of fp32") from error
    if not state or any(values.dtype != np.float32 for values in state.values()):
        raise ReleaseError(f"{source}: expected tensors of fp32 alone")
    return Adapter.from_state(state)
