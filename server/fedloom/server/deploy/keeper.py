"""Keeps what is wanted going: nodes registered, runs started, and started again when they fail.

Flower 1.41 fails a run whose ServerApp or server is away for a minute, and starts none again. The
rounds are durable and sealed updates cost nothing twice, so that a new Flower run goes on from
the last round.
"""

import logging
import time
from collections.abc import Callable, Iterator

from fedloom.server.deploy.control import Control, FlowerRun
from fedloom.server.deploy.events import EventLog
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.nodes import Nodes
from fedloom.server.deploy.pulse import Pulse
from fedloom.server.deploy.turns import Faults, Pause
from fedloom.server.deploy.wanted import State, WantedRun, change_wanted, runs_of
from fedloom.server.run.checkpoint import latest_number
from fedloom.server.run.folder import RunFolder
from fedloom.shared.errors import DeployError

logger = logging.getLogger("fedloom.keeper")

Clock = Callable[[], float]


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
        self._pauses: dict[str, Pause] = {}
        self._nodes = Nodes(home, control)
        self._pulse = Pulse(clock)
        # Whether each Flower run that lasts is written down beside what it is for, as far as is
        # known; and the stopped runs of which that was looked at since they were stopped.
        self._noted = False
        self._seen_stopped: set[str] = set()

    def tend(self) -> None:
        """One look: nodes, then runs. One that is damaged does not keep the others from theirs.

        Raises:
            DeployError: Flower's server is away; the next look may find it.
            CredentialError: the sites' keys cannot be read.
            FedLoomError, OSError: a run is damaged; the others were tended.
        """
        self._nodes.tend()
        self._note_lasting()
        faults = Faults()
        if not any([faults.kept(self._lasts, *run) for run in self.wanted()]):
            any(faults.kept(self._start, *run) for run in self.wanted())
        faults.tell()

    def wanted(self) -> Iterator[tuple[RunFolder, WantedRun]]:
        """Runs that are not at their end, the oldest first; damaged ones are logged."""
        found = [
            (folder, wanted)
            for folder, wanted in runs_of(self._home)
            if wanted.state == "wanted" or (wanted.state == "stopped" and wanted.flower_run)
        ]
        yield from sorted(found, key=lambda pair: pair[1].created)

    def _note_lasting(self) -> None:
        """Find Flower runs that a crash, or an answer that got lost, kept from being noted.

        One may appear long after its answer got lost: so it is looked for again when there is a
        sign of one, and when a run is stopped.
        """
        found = list(runs_of(self._home))
        stopped = {wanted.name for _, wanted in found if wanted.state == "stopped"}
        if self._noted and stopped <= self._seen_stopped:
            return
        lasting = self._control.lasting()
        for folder, wanted in found:
            number = lasting.get(wanted.name)
            unnoted = wanted.flower_run is None and wanted.state in ("wanted", "stopped")
            if unnoted and number is not None:
                change_wanted(folder, flower_run=number)
                logger.info("run %s: found again, Flower's run %s", wanted.name, number)
        self._noted, self._seen_stopped = True, stopped

    def _lasts(self, folder: RunFolder, wanted: WantedRun) -> bool:
        """Whether Flower is at work on this run; what ended is noted."""
        if wanted.flower_run is None:
            return False
        flower = self._control.run(wanted.flower_run)
        at_work = flower is not None and not flower.ended
        if wanted.state == "stopped":
            if at_work:
                self._control.stop(wanted.flower_run)
            change_wanted(folder, flower_run=None)
            # Beside the one that was noted, another of it may last.
            self._noted = False
        elif not at_work:
            self._settle(folder, wanted, flower)
        elif self._pulse.has_stopped(folder, wanted.flower_run):
            self._end_dead(folder, wanted.flower_run)
        return at_work and wanted.state != "stopped"

    def _end_dead(self, folder: RunFolder, flower_run: str) -> None:
        log = EventLog.of(folder)
        if not {"failed", "given-up"} & set(_since_start(log)):
            log.note("failed", "its process ended before its time")
        self._control.stop(flower_run)

    def _settle(self, folder: RunFolder, wanted: WantedRun, flower: FlowerRun | None) -> None:
        """Note how a Flower run ended, and with it perhaps the wanted run."""
        log = EventLog.of(folder)
        since = _since_start(log)
        if folder.report_json.is_file():
            if "finished" not in since:
                log.note("finished", f"after round {latest_number(folder.checkpoints)}")
            self._end(folder, wanted, "finished")
        elif "given-up" in since:
            self._end(folder, wanted, "given-up")
        else:
            if "failed" not in since:
                log.note("failed", _why(flower))
            # Another Flower run may hold the folder.
            self._noted = self._noted and "refused" not in since
            self._pause(folder, wanted)

    def _pause(self, folder: RunFolder, wanted: WantedRun) -> None:
        pause = self._pauses.setdefault(wanted.name, Pause())
        pause.begin(self._clock(), latest_number(folder.checkpoints))
        change_wanted(folder, flower_run=None)
        logger.warning("run %s: failed, again in %.0f s", wanted.name, pause.seconds)

    def _start(self, folder: RunFolder, wanted: WantedRun) -> bool:
        """Start a run, unless it waits: the others need not wait for it."""
        pause = self._pauses.get(wanted.name, Pause())
        if wanted.state != "wanted" or wanted.flower_run or self._clock() < pause.until:
            return False
        # A crash from here on, or a lost answer, leaves a Flower run that the next look finds.
        self._noted = False
        try:
            number = self._control.start(self._app, wanted.name, wanted.plan_sha256)
        except DeployError:
            self._pause(folder, wanted)
            raise
        change_wanted(folder, flower_run=number)
        self._noted = True
        done = latest_number(folder.checkpoints)
        EventLog.of(folder).note("started", f"goes on after round {done}" if done else "round 1")
        logger.info("run %s: started, Flower's run %s", wanted.name, number)
        return True

    def _end(self, folder: RunFolder, wanted: WantedRun, state: State) -> None:
        change_wanted(folder, state=state, flower_run=None)
        logger.info("run %s: %s", wanted.name, state)


def _since_start(log: EventLog) -> list[str]:
    """The kinds of what happened since the run was last started."""
    kinds: list[str] = []
    for event in log.events():
        kinds = [] if event.kind in ("started", "resumed") else [*kinds, event.kind]
    return kinds


def _why(flower: FlowerRun | None) -> str:
    if flower is None:
        return "Flower's server does not know its run any more"
    return f"{flower.outcome}: {flower.details or 'no reason given'}"
