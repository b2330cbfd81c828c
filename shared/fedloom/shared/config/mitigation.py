"""`[mitigation]`: what sites do in training against bias, within one privacy unit."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from fedloom.shared.config.values import Column, Count, Positive, Section
from fedloom.shared.swaps.vocabulary import Axis, vocabulary

# Beyond this, one group's records would drown the rest even before they are clipped.
MOST_WEIGHT = 100.0
Weight = Annotated[Positive, Field(le=MOST_WEIGHT)]


class MitigationSection(Section):
    """`[mitigation]`: public numbers and word lists that change a record's loss, never what a
    privacy unit may add to an update.

    `counterfactuals` are axes along which a record's words are exchanged: its loss is the mean
    over itself and at most `most_copies` such copies. `weights` multiply the loss of a record by
    its group: the value of `group_column`, or the groups of `group_axis` that its text mentions,
    of whose weights it has the mean. A record of no group, or of one without a weight, counts
    once.
    """

    counterfactuals: tuple[Axis, ...] = ()
    most_copies: Annotated[Count, Field(le=16)] = 4
    group_axis: Axis | None = None
    group_column: Column | None = None
    weights: dict[str, Weight] = Field(default_factory=dict, max_length=100)

    @property
    def rows(self) -> int:
        """How many rows a record has at most: itself and its copies."""
        return 1 + (self.most_copies if self.counterfactuals else 0)

    @property
    def in_words(self) -> tuple[str, ...]:
        """What is done to a record's loss, one phrase for each of both."""
        said = []
        if self.counterfactuals:
            along = " and ".join(self.counterfactuals)
            said.append(f"mean over itself and at most {self.most_copies} copies, {along} swapped")
        if self.weights:
            by = self.group_column or f"the {self.group_axis} it mentions"
            listed = ", ".join(f"{name} {weight:g}" for name, weight in self.weights.items())
            said.append(f"times a weight by {by}: {listed}")
        return tuple(said)

    def check_clipping(self, clipping: str, *, private: bool) -> None:
        """Refuse weights that clipping would take away again.

        Raises:
            ValueError: there are weights, and every gradient is brought to one length.
        """
        if self.weights and private and clipping == "automatic":
            raise ValueError(
                'mitigation.weights contradicts privacy.clipping "automatic", which brings every '
                'gradient to one length whatever it was multiplied by, expected "flat"'
            )

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not (self.counterfactuals or self.weights):
            raise ValueError("neither counterfactuals nor weights, expected one of them")
        if len(set(self.counterfactuals)) != len(self.counterfactuals):
            raise ValueError("counterfactuals are listed twice, expected each once")
        return self

    @model_validator(mode="after")
    def _weights_have_groups(self) -> Self:
        named = [key for key in (self.group_axis, self.group_column) if key is not None]
        if len(named) != (1 if self.weights else 0):
            raise ValueError(
                f"{len(self.weights)} weights with {len(named)} of group_axis and group_column, "
                "expected weights with exactly one of them, or neither"
            )
        known = vocabulary(self.group_axis).groups if self.group_axis else tuple(self.weights)
        unknown = sorted(set(self.weights) - set(known))
        if unknown:
            raise ValueError(f"no group {unknown[0]}, expected one of {', '.join(known)}")
        return self
