"""`rounds.jsonl`: what happened in each durable round."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from fedloom.shared.errors import CheckpointError
from fedloom.shared.files import append_durably, drop_cut_line, read_whole_lines
from fedloom.shared.wire.messages import HeldOut


class SiteRound(BaseModel):
    """One site in one round. `fault` says why an update is missing; None when it counted.

    `refused_by` is the rule that the site refused by, if it did. `epsilon_spent` is the site's
    cumulative epsilon after the round, None without privacy. `held_out` is what it told of its
    held-out units, None where the round is not measured. `update_sha256` names the update that
    counted: the site's ledger has the same digest as `sealed`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: str
    fault: str | None
    refused_by: str | None = None
    bytes_up: int
    bytes_down: int
    epsilon_spent: float | None = None
    steps_spent: int | None = None
    held_out: HeldOut | None = None
    update_sha256: str | None = None


class RoundEntry(BaseModel):
    """One round: who answered, how long it took, and what the new adapter is called."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    round: int
    accepted: int
    seconds: float
    adapter_sha256: str
    sites: tuple[SiteRound, ...]


class Journal:
    """Append-only. A round's line comes just before its checkpoint, so no durable round lacks one;
    a line whose checkpoint a crash prevented is replaced when the round is run again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, entry: RoundEntry) -> None:
        """Write one round durably."""
        drop_cut_line(self._path)
        append_durably(self._path, entry.model_dump_json().encode())

    def entries(self) -> list[RoundEntry]:
        """All rounds, the last entry of each round number, in order.

        Raises:
            CheckpointError: a line is damaged.
        """
        found: dict[int, RoundEntry] = {}
        for number, line in enumerate(read_whole_lines(self._path), start=1):
            try:
                entry = RoundEntry.model_validate_json(line)
            except ValidationError as error:
                raise CheckpointError(f"{self._path}, line {number}: damaged") from error
            found[entry.round] = entry
        return [found[number] for number in sorted(found)]
