"""`[data]` and `[evaluation]`: whose records, and how what was learned is scored."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fedloom.shared.config.values import Column, Count, Integer, Name, OpenFraction, Rate, Section

# The name of all sites' held-out records together, beside the sites' own names.
JOINT = "joint"
# The grouping of records that every evaluation has.
SITE = "site"


class SiteSection(Section):
    """`[[data.sites]]`: one institution and its records.

    `declared_units` is the public size that fixes sample rate and weight; in simulation it may
    be left out, and the counted size is then treated as public.
    """

    name: Name
    path: Path
    declared_units: Count | None = None


class DataSection(Section):
    """`[data]`: columns and sites. CSV, JSONL and Parquet are read.

    `text` is what is classified or asked, `label` the class or answer. `messages` instead names
    a column of chats: lists of turns with role and content, of which the last is the answer.
    """

    text: str = "text"
    label: str = "label"
    messages: str | None = None
    sites: tuple[SiteSection, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [site.name for site in self.sites]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"two sites are named {twice}, expected different names")
        if JOINT in names:
            raise ValueError(f"a site is named {JOINT}, which is all sites' records together")
        return self

    @property
    def undeclared(self) -> tuple[str, ...]:
        """Sites whose public size is left out: only their records tell it, in a simulation."""
        return tuple(site.name for site in self.sites if site.declared_units is None)


# A suite of this name is the one that comes with FedLoom, unless a file has the name.
DEFAULT_SUITE = "default"


class EvaluationSection(Section):
    """`[evaluation]`: what is held out, by privacy unit, and how it is scored.

    `holdout = "validation"` sets the test units aside untouched and scores a part of the rest:
    for choosing hyperparameters. `curve_records` bounds the records scored after each round.
    `suite` is a file of audits for the final adapter, and for the one after every `every` rounds
    if that is not 0. `groups` are columns whose values part the held-out records of a simulation,
    for audits alone: nothing is trained by them. `non_private_learning_rate` is for the comparison
    without privacy, which wants its own, as `non_private_head_learning_rate` is for its head.
    """

    holdout: Literal["test", "validation"] = "test"
    test_fraction: OpenFraction = 0.2
    validation_fraction: OpenFraction = 0.125
    curve_records: Annotated[Integer, Field(ge=0)] = 1000
    bootstrap: Annotated[Integer, Field(ge=100, le=100_000)] = 1000
    batch_size: Count = 64
    suite: Path | None = None
    every: Annotated[Integer, Field(ge=0)] = 0
    groups: tuple[Column, ...] = ()
    non_private_learning_rate: Rate | None = None
    non_private_head_learning_rate: Rate | None = None

    @model_validator(mode="after")
    def _groups_are_measured(self) -> Self:
        if self.groups and self.suite is None:
            raise ValueError("groups need suite, whose audits part records by them")
        if len(set(self.groups)) != len(self.groups):
            raise ValueError("groups are listed twice, expected each once")
        if SITE in self.groups:
            raise ValueError(f"groups name {SITE}, which every evaluation has, expected others")
        return self
