"""Whether this processor gains from bf16: decided once, by a short measurement, in the plan."""

import time
from collections.abc import Callable
from typing import Literal

import torch

# bf16 must win by this much; between 1 and this, rounding is not worth it and noise may flip it.
_WORTH_IT = 1.5
_ROWS, _INNER, _OUTER = 256, 384, 384
_TRIES = 60


def decide_precision() -> Literal["fp32", "bf16"]:
    """Compare one matrix product in fp32 and bf16; takes well under a second."""
    plain, half = _product(torch.float32), _product(torch.bfloat16)
    threads = torch.get_num_threads()
    # On a busy machine, two threads that wait for each other are rarely both running.
    torch.set_num_threads(1)
    times = [(_seconds(plain), _seconds(half)) for _ in range(_TRIES)]
    torch.set_num_threads(threads)
    # Measured in turn, and the quickest of each kept: other processes come and go meanwhile.
    quickest_plain, quickest_half = (min(column) for column in zip(*times, strict=True))
    return "bf16" if quickest_plain / quickest_half >= _WORTH_IT else "fp32"


def _product(dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    left = torch.ones(_ROWS, _INNER, dtype=dtype)
    right = torch.ones(_INNER, _OUTER, dtype=dtype)
    return lambda: torch.mm(left, right)


def _seconds(product: Callable[[], torch.Tensor]) -> float:
    began = time.perf_counter()
    product()
    return time.perf_counter() - began
