"""What the entries of a ledger add up to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fedloom.client.ledger.entries import Charge
from fedloom.client.ledger.story import Story
from fedloom.shared.privacy.accounting import Mechanism
from fedloom.shared.privacy.mechanisms import metric_mechanism


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What the ledger holds: the private mechanisms; and all rounds and steps, private or not.

    `units` are the privacy units that they were charged for. With `without_privacy`, no epsilon
    covers the whole any more; with `seeded`, none but a simulation's.
    """

    history: tuple[Mechanism, ...]
    rounds: int
    steps: int
    units: frozenset[str]
    without_privacy: bool
    seeded: bool


def spent_of(story: Story, *, but_task: str | None = None) -> Spent:
    """All standing charges together, optionally without one task's."""
    return _sum([entry.charge for entry in story.standing if entry.charge.task != but_task])


def _sum(charges: Sequence[Charge]) -> Spent:
    return Spent(
        history=tuple(mechanism for charge in charges for mechanism in _mechanisms(charge)),
        rounds=len(charges),
        steps=sum(charge.steps for charge in charges),
        units=frozenset(charge.unit for charge in charges),
        without_privacy=any(charge.noise_multiplier == 0 for charge in charges),
        seeded=any(charge.seeded for charge in charges),
    )


def _mechanisms(charge: Charge) -> Iterator[Mechanism]:
    if charge.noise_multiplier > 0:
        yield Mechanism(
            noise_multiplier=charge.noise_multiplier,
            sample_rate=charge.sample_rate,
            steps=charge.steps,
        )
    if charge.metric_noise is not None:
        yield metric_mechanism(charge.metric_noise)
