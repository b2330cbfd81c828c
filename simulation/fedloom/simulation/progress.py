"""How a study tells how far it is, whoever listens."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Two calls that must return at once.

    `stage` begins a stage with its name and its number of steps; `step` ends one step with
    what there is to say of it.
    """

    stage: Callable[[str, int], None]
    step: Callable[[str], None]


def silent() -> Progress:
    """Tells nobody."""
    return Progress(stage=lambda name, steps: None, step=lambda said: None)
