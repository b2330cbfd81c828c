"""When a run that failed has its turn again, and what a damaged one may not do to the others."""

from collections.abc import Callable
from dataclasses import dataclass

from fedloom.server.deploy.wanted import WantedRun
from fedloom.server.run.folder import RunFolder
from fedloom.shared.errors import DeployError, FedLoomError

_FIRST_WAIT, _LONGEST_WAIT = 5.0, 300.0


@dataclass
class Pause:
    """How long to wait before the next start; shorter again once a round became durable."""

    round: int = -1
    seconds: float = 0.0
    until: float = 0.0

    def begin(self, now: float, durable_round: int) -> None:
        """The run failed now."""
        moved = durable_round > self.round
        self.seconds = _FIRST_WAIT if moved else min(2 * self.seconds, _LONGEST_WAIT)
        self.round, self.until = durable_round, now + self.seconds


class Faults:
    """What went wrong with single runs, told once all others had their turn."""

    def __init__(self) -> None:
        self._first: FedLoomError | OSError | None = None

    def kept(
        self, look: Callable[[RunFolder, WantedRun], bool], folder: RunFolder, wanted: WantedRun
    ) -> bool:
        """What the look says; False if the run is damaged."""
        try:
            return look(folder, wanted)
        except DeployError:
            raise
        except (FedLoomError, OSError) as error:
            self._first = self._first or error
            return False

    def tell(self) -> None:
        """Raise the first fault, if there was one."""
        if self._first is not None:
            raise self._first
