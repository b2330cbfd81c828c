"""Whether the ServerApp of a run still lives: by the lock of the run's folder."""

from collections.abc import Callable

from fedloom.server.run.folder import RunFolder

# A ServerApp that has let go of the folder tells Flower so within this time.
_ENDING_SECONDS = 6.0


class Pulse:
    """Flower finds out after a minute that a ServerApp died; its lock is free at once.

    The folder tells whose lock it was, so that a ServerApp that only begins is not taken for
    dead, nor one that died before this process began for one that begins.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # By Flower run, when the folder was first found left by its ServerApp.
        self._left: dict[str, float] = {}

    def has_stopped(self, folder: RunFolder, flower_run: str) -> bool:
        """Whether the ServerApp of a Flower run that is said to last has ended."""
        if folder.left_by() != flower_run:
            self._left.pop(flower_run, None)
            return False
        now = self._clock()
        return now - self._left.setdefault(flower_run, now) > _ENDING_SECONDS
