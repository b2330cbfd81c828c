"""Which events may follow which: a signature vouches for who wrote an entry, not for its sense."""

from collections.abc import Sequence

from fedloom.client.ledger.entries import Charge, Entry
from fedloom.shared.errors import LedgerError


class Story:
    """What the entries so far say of every task and round.

    Guarantee: a task goes from nothing or `voided` to `reserved`, and from there to `released`
    or `voided`, for the very charge that was reserved; a round of a plan has one task at a time,
    and a released one for ever. So no charge is taken back once its update was sealed, and no
    update is sealed that was not charged.
    """

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        self._last: dict[str, Entry] = {}
        self._of_round: dict[tuple[str, int], str] = {}
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """The next entry.

        Raises:
            LedgerError: it cannot follow what was before.
        """
        check = self._may_reserve if entry.event == "reserved" else self._may_close
        if not check(entry) or not _is_complete(entry):
            raise LedgerError(f"ledger: entry {entry.number} is out of order: {entry.event}")
        self._last[entry.charge.task] = entry
        of_round = (entry.charge.plan, entry.charge.round)
        if entry.event == "voided":
            del self._of_round[of_round]
        else:
            self._of_round[of_round] = entry.charge.task

    @property
    def standing(self) -> list[Entry]:
        """The last entry of each task that is charged and not voided."""
        return [entry for entry in self._last.values() if entry.event != "voided"]

    def task_of(self, plan: str, number: int) -> str | None:
        """The task that a plan's round was charged for."""
        return self._of_round.get((plan, number))

    def last(self, task: str) -> Entry | None:
        """The last entry of a task, voided or not."""
        return self._last.get(task)

    def open_charge(self, task: str) -> Charge | None:
        """The charge of a task that is reserved and neither released nor voided."""
        entry = self._last.get(task)
        return entry.charge if entry is not None and entry.event == "reserved" else None

    def _may_reserve(self, entry: Entry) -> bool:
        return (entry.charge.plan, entry.charge.round) not in self._of_round

    def _may_close(self, entry: Entry) -> bool:
        return self.open_charge(entry.charge.task) == entry.charge


def _is_complete(entry: Entry) -> bool:
    drawn, sealed = entry.draws is not None, entry.sealed is not None
    return (drawn, sealed) == (entry.event == "reserved", entry.event == "released")
