"""Trains a federation with canaries: the ordinary run, on records that are kept no longer."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import RoundEntry
from fedloom.server.run.telling import round_told
from fedloom.shared.adapter import Adapter
from fedloom.simulation.auditing.canaries import Dealt
from fedloom.simulation.auditing.planting import planted
from fedloom.simulation.executors.base import Executor
from fedloom.simulation.federation import RunOptions, run_federation
from fedloom.simulation.prepare import Prepared
from fedloom.simulation.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Training:
    """Where runs with canaries are trained, and who hears of their rounds."""

    executor: Executor
    progress: Progress

    def run(
        self,
        prepared: Prepared,
        dealt: Dealt,
        folder: RunFolder,
        options: RunOptions,
        *,
        stage: str,
    ) -> Prepared:
        """Run the federation with the canaries that coins put in, or go on with it, and give back
        what ran.

        Its records and canaries are gone when this returns.

        Raises:
            FedLoomError: as `planted` and `run_federation`.
        """
        with tempfile.TemporaryDirectory(prefix="fedloom-") as scratch:
            audited = planted(prepared, dealt, Path(scratch))
            self.progress.stage(stage, audited.plan.rounds.total)
            options = replace(options, observers=(self._observe,))
            run_federation(audited, folder, self.executor, options)
        return audited

    def _observe(self, number: int, _: Adapter, entry: RoundEntry | None) -> None:
        if entry is not None:
            self.progress.step(round_told(entry))
        elif number:
            self.progress.step(f"resumed after round {number}")
