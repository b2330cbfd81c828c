"""`events.jsonl`: what happened to a run beside its rounds, for whoever follows it."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.values import Section
from fedloom.shared.errors import CheckpointError
from fedloom.shared.files import append_durably, drop_cut_line, read_whole_lines
from fedloom.shared.printable import printable

Kind = Literal[
    "started", "failed", "refused", "finished", "stopped", "resumed", "given-up", "not-evaluated"
]


class RunEvent(Section):
    """One event; `at` in seconds since 1970. `refused` is somebody or something turned away."""

    at: float
    kind: Kind
    detail: str


@dataclass(frozen=True)
class EventLog:
    """Append-only, one line of JSON for each event."""

    path: Path

    @classmethod
    def of(cls, folder: RunFolder) -> "EventLog":
        """Beside a run's plan."""
        return cls(folder.path / "events.jsonl")

    def note(self, kind: Kind, detail: str) -> None:
        """Write one event durably; a peer's words in it are made printable."""
        drop_cut_line(self.path)
        event = RunEvent(at=time.time(), kind=kind, detail=printable(detail))
        append_durably(self.path, event.model_dump_json().encode())

    def events(self) -> list[RunEvent]:
        """All events, in order.

        Raises:
            CheckpointError: a line is damaged.
        """
        try:
            return [RunEvent.model_validate_json(line) for line in read_whole_lines(self.path)]
        except ValidationError as error:
            raise CheckpointError(f"{self.path}: damaged, expected a run's events") from error
