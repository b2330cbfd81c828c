"""`[training]`: what a site does in a round."""

from typing import Annotated, Literal

from pydantic import Field

from fedloom.shared.config.values import MOST_STEPS, Count, Fraction, Integer, Rate, Section, Steps


class TrainingSection(Section):
    """`[training]`: what a site does in one round.

    `local_steps` optimizer steps on Poisson batches of `expected_batch_size` units expected.
    `micro_tokens`, the padded tokens in memory at once, and `precision` are speed switches:
    they change rounding, not the guarantee; `auto` is decided in the plan, by what the
    coordinator's processor gains from bf16. In the first `head_rounds` rounds only the head
    trains, for `head_local_steps` steps (`local_steps` if left out). `schedule` and `warmup`, a
    fraction of the steps, say how rates move over the head rounds, and then over the others.
    """

    local_steps: Steps = 8
    head_rounds: Annotated[Integer, Field(ge=0, le=MOST_STEPS)] = 0
    head_local_steps: Steps | None = None
    expected_batch_size: Count = 256
    optimizer: Literal["sgd", "adam"] = "adam"
    learning_rate: Rate = 0.01
    head_learning_rate: Rate | None = None
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: Fraction = 0.0
    momentum: Fraction = 0.9
    micro_tokens: Annotated[Count, Field(le=1_048_576)] = 2048
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    def steps_in(self, round_number: int) -> int:
        """Optimizer steps of a site in one round."""
        head = self.head_local_steps or self.local_steps
        return head if round_number <= self.head_rounds else self.local_steps

    def steps_through(self, rounds: int) -> int:
        """Optimizer steps of a site in rounds 1 to `rounds` together."""
        head = min(rounds, self.head_rounds)
        return head * self.steps_in(1) + (rounds - head) * self.local_steps

    def check_rounds(self, total: int) -> None:
        """Make sure that `total` rounds hold the head rounds.

        Raises:
            ValueError: they do not.
        """
        if self.head_rounds > total:
            raise ValueError(
                f"training.head_rounds is {self.head_rounds}, expected at most rounds.total = "
                f"{total}"
            )
