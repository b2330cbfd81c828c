"""Keeps what is wanted going: nodes registered, runs started, and started again when they fail.

Flower 1.41 fails a run whose ServerApp or server is away for a minute, and starts none again. The
rounds are durable and sealed updates cost nothing twice, so that a new Flower run goes on from
the last round.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fedloom.server.deploy.control import Control, FlowerRun, node_public_key
from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.wanted import State, WantedRun, read_wanted, write_wanted
from fedloom.server.run.checkpoint import latest_number
from fedloom.server.run.folder import RunFolder
from fedloom.shared.errors import FedLoomError

logger = logging.getLogger("fedloom.keeper")

_FIRST_WAIT, _LONGEST_WAIT = 5.0, 300.0
# A ServerApp that has let go of the folder tells Flower so within this time.
_ENDING_SECONDS = 6.0
Clock = Callable[[], float]


@dataclass
class _Pause:
    """How long to wait before the next start; shorter again once a round became durable."""

    round: int = -1
    seconds: float = 0.0
    until: float = 0.0

    def begin(self, now: float, durable_round: int) -> None:
        moved = durable_round > self.round
        self.seconds = _FIRST_WAIT if moved else min(2 * self.seconds, _LONGEST_WAIT)
        self.round, self.until = durable_round, now + self.seconds


class Keeper:
    """Tends one server, one look at a time; what it knows is in files, so it may die at any time.

    One run at a time, the oldest first: a site answers one task at a time.
    """

    def __init__(
        self, home: ServerHome, control: Control, app: str, clock: Clock = time.monotonic
    ) -> None:
        self._home = home
        self._control = control
        self._app = app
        self._clock = clock
        self._pauses: dict[str, _Pause] = {}
        # When a run's folder was first found left by its ServerApp.
        self._left: dict[str, float] = {}

    def tend(self) -> None:
        """One look: nodes, then runs.

        Raises:
            DeployError: Flower's server is away; the next look may find it.
            CredentialError: the sites' keys cannot be read.
        """
        self._tend_nodes()
        for folder, wanted in self.wanted():
            if self._tend_run(folder, wanted):
                return

    def wanted(self) -> Iterator[tuple[RunFolder, WantedRun]]:
        """Runs that are not at their end, the oldest first; damaged ones are logged."""
        found = [
            (folder, wanted)
            for folder, wanted in runs_of(self._home)
            if wanted.state in ("wanted", "stopped") and not _is_settled(wanted)
        ]
        yield from sorted(found, key=lambda pair: pair[1].created)

    def _tend_nodes(self) -> None:
        wanted = {name: node_public_key(keys.node) for name, keys in self._home.sites().items()}
        known = {node.public_key: node for node in self._control.nodes()}
        for name, key in wanted.items():
            if key not in known:
                self._control.register(name, key)
                logger.info("site %s: its node may come", name)
        for key, node in known.items():
            if key not in wanted.values():
                self._control.unregister(node.node_id)
                logger.info("node %s: its site was removed", node.name)

    def _tend_run(self, folder: RunFolder, wanted: WantedRun) -> bool:
        """Whether this run has its turn."""
        flower = None if wanted.flower_run is None else self._control.run(wanted.flower_run)
        if wanted.state == "stopped":
            self._stop(folder, wanted, flower)
            return False
        if flower is not None and not flower.ended:
            self._end_if_dead(folder, wanted)
            return True
        if flower is not None and self._settle(folder, wanted, flower):
            return False
        return self._start(folder, wanted)

    def _end_if_dead(self, folder: RunFolder, wanted: WantedRun) -> None:
        """Flower finds out after a minute; the folder's lock is free as its process ends."""
        number = wanted.flower_run
        if number is None or folder.left_by() != number:
            self._left.pop(wanted.name, None)
        elif self._clock() - self._left.setdefault(wanted.name, self._clock()) > _ENDING_SECONDS:
            del self._left[wanted.name]
            EventLog.of(folder).note("failed", "its process ended before its time")
            self._control.stop(number)

    def _stop(self, folder: RunFolder, wanted: WantedRun, flower: FlowerRun | None) -> None:
        if flower is not None and not flower.ended and wanted.flower_run is not None:
            self._control.stop(wanted.flower_run)
        write_wanted(folder, wanted.model_copy(update={"flower_run": None}))

    def _settle(self, folder: RunFolder, wanted: WantedRun, flower: FlowerRun) -> bool:
        """Note how a Flower run ended; whether the wanted run is at its end with it."""
        log = EventLog.of(folder)
        if folder.report_json.is_file():
            self._end(folder, wanted, "finished")
            log.note("finished", f"after round {latest_number(folder.checkpoints)}")
            return True
        last = log.events()[-1] if log.events() else None
        if last is not None and last.kind == "given-up":
            self._end(folder, wanted, "given-up")
            return True
        if last is None or last.kind != "failed":
            log.note("failed", f"{flower.outcome}: {flower.details or 'no reason given'}")
        pause = self._pauses.setdefault(wanted.name, _Pause())
        pause.begin(self._clock(), latest_number(folder.checkpoints))
        write_wanted(folder, wanted.model_copy(update={"flower_run": None}))
        logger.warning("run %s: failed, again in %.0f s", wanted.name, pause.seconds)
        return False

    def _start(self, folder: RunFolder, wanted: WantedRun) -> bool:
        pause = self._pauses.get(wanted.name)
        if pause is not None and self._clock() < pause.until:
            # The others need not wait for a run that waits.
            return False
        number = self._control.start(self._app, wanted.name, wanted.plan_sha256)
        # Between these two lines a crash leaves a Flower run that nobody remembers: it ends at
        # the run folder's lock, or the next one does.
        write_wanted(folder, read_wanted(folder).model_copy(update={"flower_run": number}))
        done = latest_number(folder.checkpoints)
        EventLog.of(folder).note("started", f"goes on after round {done}" if done else "round 1")
        logger.info("run %s: started, Flower's run %s", wanted.name, number)
        return True

    def _end(self, folder: RunFolder, wanted: WantedRun, state: State) -> None:
        write_wanted(folder, wanted.model_copy(update={"state": state, "flower_run": None}))
        logger.info("run %s: %s", wanted.name, state)


def runs_of(home: ServerHome) -> Iterator[tuple[RunFolder, WantedRun]]:
    """All runs of a server; one that cannot be read is logged and left out."""
    for path in sorted(home.runs.glob("*/wanted.json")):
        folder = RunFolder(path.parent)
        try:
            yield folder, read_wanted(folder)
        except FedLoomError as error:
            logger.error("%s", error)


def _is_settled(wanted: WantedRun) -> bool:
    return wanted.state == "stopped" and wanted.flower_run is None
