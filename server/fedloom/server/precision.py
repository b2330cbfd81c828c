"""Whether this processor gains from bf16: decided once, by a short measurement, in the plan."""

import time
from typing import Literal

import torch

# bf16 must win by this much; between 1 and this, rounding is not worth it and noise may flip it.
_WORTH_IT = 1.5
_ROWS, _INNER, _OUTER = 512, 768, 768
_TRIES = 7


def decide_precision() -> Literal["fp32", "bf16"]:
    """Compare one matrix product in fp32 and bf16; takes well under a second."""
    plain = _seconds(torch.float32)
    half = _seconds(torch.bfloat16)
    return "bf16" if plain / half >= _WORTH_IT else "fp32"


def _seconds(dtype: torch.dtype) -> float:
    left = torch.ones(_ROWS, _INNER, dtype=dtype)
    right = torch.ones(_INNER, _OUTER, dtype=dtype)
    times = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        torch.mm(left, right)
        times.append(time.perf_counter() - began)
    # The quickest run is the one that other processes disturbed least.
    return min(times)
