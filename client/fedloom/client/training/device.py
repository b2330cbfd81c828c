"""Where a site computes: on its processor, or on a CUDA device of its own."""

from typing import Literal

import torch

from fedloom.shared.errors import TrainingError

DeviceChoice = Literal["auto", "cpu", "cuda"]


def choose_device(wanted: DeviceChoice) -> torch.device:
    """The device that a site's settings ask for; `auto` takes CUDA where there is one.

    Noise and sampling stay on the processor whatever is chosen.

    Raises:
        TrainingError: CUDA is asked for and there is none.
    """
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise TrainingError("compute.device is cuda, but there is no CUDA device; expected cpu")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")
