"""Where a site's answers are made: whatever is asked, and whatever goes wrong, becomes one."""

import logging
from pathlib import Path

from fedloom.client.answering import CANNOT_ANSWER, CANNOT_TRAIN, Told, nobody, refusal
from fedloom.client.site.directory import SiteDirectory
from fedloom.client.site.service import SiteService
from fedloom.shared.errors import FedLoomError, SiteRefusal
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.messages import DeclaredBudget, HelloHeader, TrainTask

logger = logging.getLogger("fedloom.site")
_UNKNOWN = "unknown"


class SiteDesk:
    """Answers for the site whose settings lie at `settings`.

    Guarantee: as `SiteAnswers`. Never an exception's text, a loss or a count leaves: those
    depend on records. They go to the site's own log.
    """

    def __init__(self, settings: Path, directory: SiteDirectory) -> None:
        self._settings = settings
        self._directory = directory

    def hello(self) -> Envelope:
        """Who the site is, and what is left of its budget."""
        try:
            service = self._directory.service(self._settings)
            hello = HelloHeader(site=service.site, budget=self._budget(service))
            return Envelope(frame=hello.frame())
        except FedLoomError as error:
            logger.error("%s: %s", self._settings, error)
        # Whatever gets past here would be told to the peer as it is.
        except Exception as error:
            logger.error("%s: unexpected %s", self._settings, _kind(error), exc_info=error)
        return refusal(_UNKNOWN, CANNOT_ANSWER)

    def train(self, asked: Envelope, told: Told = nobody) -> Envelope:
        """The sealed update for a task, with the head of the ledger, or a refusal."""
        name = _UNKNOWN
        try:
            task = TrainTask.unpack(asked.frame)
            name = task.site
            service = self._directory.service(self._settings)
            return service.train(task, remembered=asked.head, told=told)
        except SiteRefusal as error:
            logger.warning("%s: %s", name, error)
            return refusal(name, error.rule)
        except FedLoomError as error:
            logger.error("%s: %s", name, error)
        except Exception as error:
            logger.error("%s: unexpected %s", self._settings, _kind(error), exc_info=error)
        return refusal(name, CANNOT_TRAIN)

    def _budget(self, service: SiteService) -> DeclaredBudget | None:
        """What is left; None while the site cannot say, which each task is then told."""
        try:
            return service.budget()
        except FedLoomError as error:
            logger.error("%s: %s", self._settings, error)
            return None


def _kind(error: Exception) -> str:
    return type(error).__name__
