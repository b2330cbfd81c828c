"""What the entries of a ledger add up to."""

from collections.abc import Sequence
from dataclasses import dataclass

from fedloom.client.ledger.entries import Entry
from fedloom.shared.privacy.accounting import Mechanism


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What the ledger holds: the private mechanisms, and all steps whether private or not.

    `units` are the privacy units that they were charged for. With `without_privacy`, no epsilon
    covers the whole any more; with `seeded`, none but a simulation's.
    """

    history: tuple[Mechanism, ...]
    steps: int
    units: frozenset[str]
    without_privacy: bool
    seeded: bool


def standing(entries: Sequence[Entry]) -> list[Entry]:
    """For each task that is charged and not voided its last entry, in the order of charging."""
    last: dict[str, Entry] = {}
    for entry in entries:
        if entry.event == "voided":
            last.pop(entry.charge.task, None)
        else:
            last[entry.charge.task] = entry
    return list(last.values())


def spent_of(entries: Sequence[Entry], *, except_plan: str | None = None) -> Spent:
    """All standing charges together, optionally without one plan's."""
    charges = [entry.charge for entry in standing(entries) if entry.charge.plan != except_plan]
    history = tuple(
        Mechanism(
            noise_multiplier=charge.noise_multiplier,
            sample_rate=charge.sample_rate,
            steps=charge.steps,
        )
        for charge in charges
        if charge.noise_multiplier > 0
    )
    return Spent(
        history=history,
        steps=sum(charge.steps for charge in charges),
        units=frozenset(charge.unit for charge in charges),
        without_privacy=any(charge.noise_multiplier == 0 for charge in charges),
        seeded=any(charge.seeded for charge in charges),
    )
