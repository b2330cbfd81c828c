"""The phases of a run: rounds in which the same tensors train.

Both sides need them: a site to know what to train and clip, the server to know what to expect.
"""

from dataclasses import dataclass

from fedloom.shared.adapter import AdapterLayout
from fedloom.shared.errors import PlanError
from fedloom.shared.methods import HEAD_ONLY, trained_layout
from fedloom.shared.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Rounds `first` to `last` of a plan, each of `local_steps` optimizer steps at a site.

    `trains` is the rule in `TRAINS` that says which tensors sites train and send.
    """

    trains: str
    first: int
    last: int
    local_steps: int

    @property
    def steps(self) -> int:
        """Optimizer steps of a site in the whole phase."""
        return (self.last - self.first + 1) * self.local_steps

    def step_number(self, round_number: int, step: int) -> int:
        """Number in the phase, from 0, of a round's step `step`, from 0.

        Raises:
            ValueError: the round is of another phase.
        """
        if not self.first <= round_number <= self.last:
            raise ValueError(f"round {round_number}: expected one of {self.first} to {self.last}")
        return (round_number - self.first) * self.local_steps + step

    def layout(self, whole: AdapterLayout) -> AdapterLayout:
        """The part of the adapter's layout that sites train and send.

        Raises:
            PlanError: it is empty: head rounds for a model without a head.
        """
        part = trained_layout(self.trains, whole)
        if not part.tensors:
            raise PlanError(
                f"training.head_rounds is {self.last}, but the model has no head beside LoRA, "
                "expected 0"
            )
        return part


def phases_of(plan: Plan) -> tuple[Phase, ...]:
    """The plan's phases in order; together they are all its rounds."""
    training, total = plan.training, plan.rounds.total
    bounds = {HEAD_ONLY: (1, training.head_rounds)}
    bounds[plan.aggregation.method] = (training.head_rounds + 1, total)
    return tuple(
        Phase(trains=trains, first=first, last=last, local_steps=training.steps_in(first))
        for trains, (first, last) in bounds.items()
        if first <= last
    )


def phase_in(plan: Plan, round_number: int) -> Phase:
    """The phase that a round of the plan lies in.

    Raises:
        PlanError: the plan has no such round.
    """
    for phase in phases_of(plan):
        if phase.first <= round_number <= phase.last:
            return phase
    raise PlanError(f"plan {plan.sha256[:12]}: no round {round_number}")
