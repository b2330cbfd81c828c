"""`[privacy]` and `[metrics]`: what sites promise, and what they tell beside their updates."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fedloom.shared.config.values import MOST_NOISE, Count, Integer, Number, Positive, Section, Unit

# Below this noise, epsilon is in the hundreds and the accountant's grid grows without end.
LEAST_NOISE = 0.2
# Below this, the accountant's own arithmetic error is no longer small beside delta.
LEAST_DELTA = 1e-12


class PrivacyTerms(Section):
    """What each site promises to each privacy unit over the whole run.

    `unit` is `record` or the name of a column (patient, customer, author); at most `unit_cap`
    records of a unit, drawn at random, are used in a step. `noise_seed` makes a simulation
    repeatable and voids the guarantee: every output then says so. `automatic` clipping brings
    every unit's gradient to about the clip norm, `flat` only those beyond it. Without privacy,
    the terms that speak of noise mean nothing.
    """

    mode: Literal["dp-sgd", "none"] = "dp-sgd"
    epsilon: Positive | None = None
    noise_multiplier: Annotated[Number, Field(ge=LEAST_NOISE, le=MOST_NOISE)] | None = None
    delta: Annotated[Number, Field(ge=LEAST_DELTA, lt=1)] = 1e-5
    # In fp32 the clipped sum and its noise keep their precision well within these.
    clip_norm: Annotated[Number, Field(ge=1e-6, le=1e6)] = 1.0
    clipping: Literal["flat", "automatic"] = "flat"
    unit: Unit = "record"
    unit_cap: Annotated[Count, Field(le=100_000)] = 16
    relation: Literal["add-or-remove-one-unit"] = "add-or-remove-one-unit"
    accountant: Literal["prv"] = "prv"
    noise_seed: Annotated[Integer, Field(ge=0)] | None = None

    @property
    def private(self) -> bool:
        """Whether sites train with differential privacy at all."""
        return self.mode == "dp-sgd"

    @property
    def seeded(self) -> bool:
        """Whether noise is repeatable, hence worthless as protection."""
        return self.private and self.noise_seed is not None

    @property
    def protects(self) -> bool:
        """Whether what leaves is covered by an epsilon."""
        return self.private and not self.seeded


class PrivacySection(PrivacyTerms):
    """`[privacy]`: the terms as people ask for them.

    `epsilon` asks for the noise that gives it; `noise_multiplier` fixes the noise, and the plan
    states the epsilon; exactly one of the two with privacy, and nothing of noise without it.
    """

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = self.model_fields_set
        if self.mode == "none":
            clash = sorted(
                given & {"epsilon", "noise_multiplier", "delta", "clip_norm", "clipping"}
            )
            if clash:
                raise ValueError(f'mode "none" contradicts {", ".join(clash)}, expected neither')
        elif (self.epsilon is None) == (self.noise_multiplier is None):
            raise ValueError(
                'mode "dp-sgd" needs exactly one of epsilon and noise_multiplier, '
                + ("got neither" if self.epsilon is None else "got both")
            )
        return self


# What may leave a site beside the noised update.
ReleasedValue = Literal["held-out-accuracy"]


class MetricsSection(Section):
    """`[metrics]`: what sites tell beside their updates, noised and charged; nothing if left out.

    `held-out-accuracy` is how many held-out privacy units a site has and how many the adapter
    that a round starts from gets right, in rounds that `every` divides. `noise_multiplier` is the
    noise of each such release, as a multiple of what one unit can move.
    """

    values: tuple[ReleasedValue, ...] = ()
    every: Count = 10
    noise_multiplier: Annotated[Number, Field(ge=1, le=MOST_NOISE)] = 20.0

    def measures(self, round_number: int) -> bool:
        """Whether sites measure in a round."""
        return bool(self.values) and round_number % self.every == 0

    def check_covered(self, *, private: bool, rounds: int) -> None:
        """Make sure that an epsilon covers what is asked for, and that some round measures it.

        Raises:
            ValueError: one of the two is not so.
        """
        if self.values and not private:
            raise ValueError(
                'metrics.values contradicts privacy.mode "none": no epsilon would cover them, '
                "expected none"
            )
        if self.values and self.every > rounds:
            raise ValueError(
                f"metrics.every is {self.every}, expected at most rounds.total = {rounds}, or "
                "nothing is ever measured"
            )
