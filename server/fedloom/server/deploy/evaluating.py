"""The suite of audits in a deployment: on the coordinator's own records and public benchmarks.

A suite that cannot be run ends no run: what the sites have trained is worth more than its
evaluation, which can be done again. So it runs in a process of its own, whose end by an error, by
a signal or for want of memory is an event of the run and nothing more.
"""

import subprocess
import sys
from dataclasses import dataclass

from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.wanted import WantedRun
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import RoundEntry
from fedloom.shared.adapter import Adapter

_MODULE = "fedloom.server.deploy.evaluate_process"
_LONGEST_SECONDS = 6 * 3600.0


@dataclass(frozen=True, kw_only=True)
class DeployedEvaluation:
    """A wanted run's suite, if it has one."""

    folder: RunFolder
    wanted: WantedRun
    longest_seconds: float = _LONGEST_SECONDS

    def observe(self, number: int, _: Adapter, entry: RoundEntry | None) -> None:
        """After every k-th round."""
        if entry is not None and self.wanted.every and number % self.wanted.every == 0:
            self._run(number)

    def at_end(self) -> bool:
        """Of the final adapter; whether `evaluation.json` was written."""
        return self._run(None)

    def _run(self, number: int | None) -> bool:
        if self.wanted.suite is None:
            return False
        # -P: a file in the working folder is no module.
        command = [sys.executable, "-P", "-m", _MODULE, str(self.folder.path)]
        command += [] if number is None else [str(number)]
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=self.longest_seconds, check=False
            )
        except (subprocess.TimeoutExpired, OSError) as error:
            self._note(f"{type(error).__name__} of the suite's process")
            return False
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            self._note(said[-1] if said else f"the suite's process ended with {done.returncode}")
        return done.returncode == 0

    def _note(self, why: str) -> None:
        EventLog.of(self.folder).note("not-evaluated", why)
