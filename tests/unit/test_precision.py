"""The precision that a plan records."""

import time
from collections.abc import Callable

import pytest
import torch

from fedloom.server import precision


@pytest.mark.parametrize(("half_speed", "decided"), [(4.0, "bf16"), (1.2, "fp32"), (0.5, "fp32")])
def test_bf16_must_win_clearly(
    monkeypatch: pytest.MonkeyPatch, half_speed: float, decided: str
) -> None:
    """Catches the comparison the wrong way round, and a choice that a tie would flip."""

    def pretended(dtype: torch.dtype) -> Callable[[], torch.Tensor]:
        seconds = 4e-3 if dtype == torch.float32 else 4e-3 / half_speed
        end = torch.zeros(0)

        def product() -> torch.Tensor:
            time.sleep(seconds)
            return end

        return product

    monkeypatch.setattr(precision, "_product", pretended)
    assert precision.decide_precision() == decided


def test_the_real_measurement_is_short() -> None:
    # Processor time, which other work on the machine does not lengthen.
    began = time.process_time()
    assert precision.decide_precision() in {"fp32", "bf16"}
    assert time.process_time() - began < 3
