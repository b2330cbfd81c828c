"""The `[release]` section: what an adapter must reach before it may leave, said before training."""

from pathlib import Path
from typing import Annotated, Literal, Self

import tomli_w
from pydantic import Field, model_validator

from fedloom.shared.config.reading import read_toml
from fedloom.shared.config.values import FIGURE_PATTERN, Count, Number, Section
from fedloom.shared.errors import ReleaseError

# Which end of a figure's 95 % interval a threshold is held against, or the figure itself.
Bound = Literal["value", "low", "high"]
# A figure measured on fewer records says too little for a rule that does not say how many it wants.
LEAST_RECORDS = 30
FigureName = Annotated[str, Field(pattern=FIGURE_PATTERN, max_length=200)]
_Text = Annotated[str, Field(min_length=1, max_length=2000)]
_Short = Annotated[str, Field(min_length=1, max_length=300)]

_HEADING = "# What was promised of this run's adapter before it was trained.\n"


class ReleaseRule(Section):
    """`[[release.rules]]`: one threshold on one figure, named `AUDIT.KEY` as the suite has it.

    Exactly one of `at_least` and `at_most`, both inclusive. `bound` is the end of the interval
    that must reach it; without one, the end that speaks against the adapter. A figure that has no
    interval reaches only a rule whose bound is `value`; one measured on fewer than `min_records`
    records, none.
    """

    figure: FigureName
    bound: Bound | None = None
    at_least: Number | None = None
    at_most: Number | None = None
    min_records: Count = LEAST_RECORDS

    @property
    def name(self) -> str:
        """What the rule is called where it is shown and overridden."""
        return f"{self.figure}.{'at_most' if self.at_least is None else 'at_least'}"

    @property
    def decides(self) -> Bound:
        """The bound, or the cautious one."""
        return self.bound or ("high" if self.at_least is None else "low")

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            got = "neither" if self.at_least is None else "both"
            raise ValueError(f"expected exactly one of at_least and at_most, got {got}")
        return self


class ReleaseSection(Section):
    """`[release]`: without it, only the rules hold that no file can switch off.

    `intended_use`, `licence` and `contact` are for the model card.
    """

    require_privacy_audit: Annotated[bool, Field(strict=True)] = False
    rules: tuple[ReleaseRule, ...] = Field(default=(), max_length=200)
    intended_use: _Text | None = None
    licence: _Short | None = None
    contact: _Short | None = None

    @model_validator(mode="after")
    def _rules_differ(self) -> Self:
        names = [rule.name for rule in self.rules]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two rules set {twice}, expected one")
        return self

    def to_toml(self) -> str:
        """The section as a file of its own."""
        return _HEADING + tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def read_terms(path: Path) -> ReleaseSection:
    """What was promised when a run began.

    Raises:
        ReleaseError: the file is not there: what was promised cannot be known.
        ConfigError: it is damaged.
    """
    if not path.is_file():
        raise ReleaseError(
            f"{path}: no such file, expected what was promised when the run began; without it "
            "nothing says which thresholds count"
        )
    return read_toml(path, ReleaseSection, expected="a run's release.toml")
