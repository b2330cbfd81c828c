"""Where a site's answers are made: whatever is asked, and whatever goes wrong, becomes one."""

import logging
from pathlib import Path

from fedloom.client.answering import CANNOT_ANSWER, CANNOT_TRAIN, Told, nobody, refusal
from fedloom.client.site.directory import SiteDirectory
from fedloom.client.site.link import Link
from fedloom.client.site.service import SiteService
from fedloom.shared.errors import FedLoomError, SiteRefusal
from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.messages import DeclaredBudget, HelloHeader, HelloQuestion, TrainTask

logger = logging.getLogger("fedloom.site")
_UNKNOWN = "unknown"


class SiteDesk:
    """Answers for the site whose settings lie at `settings`.

    Guarantee: as `SiteAnswers`. Never an exception's text, a loss or a count leaves: those
    depend on records. They go to the site's own log. A site with a coordinator trains on what
    that one signed alone, and signs each answer for its question.
    """

    def __init__(self, settings: Path, directory: SiteDirectory) -> None:
        self._settings = settings
        self._directory = directory
        self._link: Link | None = None

    def hello(self, asked: Envelope) -> Envelope:
        """Who the site is, and what is left of its budget."""
        return self._signed(self._hello(asked), asked)

    def train(self, asked: Envelope, told: Told = nobody) -> Envelope:
        """The sealed update for a task, with the head of the ledger, or a refusal."""
        return self._signed(self._trained(asked, told), asked)

    def _hello(self, asked: Envelope) -> Envelope:
        try:
            service = self._directory.service(self._settings)
            _check_asked(service, asked)
            HelloQuestion.parse(asked.frame.header)
            hello = HelloHeader(site=service.site, budget=self._budget(service))
            return Envelope(frame=hello.frame())
        except SiteRefusal as error:
            logger.warning("%s: %s", self._settings, error, extra={"rule": error.rule})
            return refusal(_UNKNOWN, error.rule)
        except FedLoomError as error:
            logger.error("%s: %s", self._settings, error)
        # Whatever gets past here would be told to the peer as it is.
        except Exception as error:
            logger.error("%s: unexpected %s", self._settings, _kind(error), exc_info=error)
        return refusal(_UNKNOWN, CANNOT_ANSWER)

    def _trained(self, asked: Envelope, told: Told) -> Envelope:
        name = _UNKNOWN
        try:
            service = self._directory.service(self._settings)
            _check_asked(service, asked)
            task = TrainTask.unpack(asked.frame)
            name = task.site
            answer = service.train(task, remembered=asked.head, told=_logging(task, told))
            _logging(task, nobody)("answered")
            return answer
        except SiteRefusal as error:
            logger.warning("%s: %s", name, error, extra={"site": name, "rule": error.rule})
            return refusal(name, error.rule)
        except FedLoomError as error:
            logger.error("%s: %s", name, error)
        except Exception as error:
            logger.error("%s: unexpected %s", self._settings, _kind(error), exc_info=error)
        return refusal(name, CANNOT_TRAIN)

    def _signed(self, answer: Envelope, asked: Envelope) -> Envelope:
        try:
            self._link = self._directory.service(self._settings).link
        # The answer says so already; a refusal is signed by the key that there was before.
        except Exception as error:
            logger.debug("%s: its key as before", self._settings, exc_info=error)
        return answer if self._link is None else self._link.sign(answer, asked)

    def _budget(self, service: SiteService) -> DeclaredBudget | None:
        """What is left; None while the site cannot say, which each task is then told."""
        try:
            return service.budget()
        except FedLoomError as error:
            logger.error("%s: %s", self._settings, error)
            return None


def _check_asked(service: SiteService, asked: Envelope) -> None:
    """First: nothing of what a stranger sends is read."""
    if service.link is not None:
        service.link.check(asked)


def _logging(task: TrainTask, told: Told) -> Told:
    """Each stage goes to the site's own log too, with its time."""
    facts = {"site": task.site, "round": task.round, "run": task.plan.name}

    def passed(stage: str) -> None:
        logger.info("round %d of %s: %s", task.round, task.plan.name, stage, extra=facts)
        told(stage)

    return passed


def _kind(error: Exception) -> str:
    return type(error).__name__
