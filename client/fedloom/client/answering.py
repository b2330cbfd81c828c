"""What a site answers, whether in this process or behind a socket."""

from collections.abc import Callable
from typing import Protocol

from fedloom.shared.wire.envelope import Envelope
from fedloom.shared.wire.messages import RefusalHeader

# Told the stage that a task has reached: public facts alone, at most one word for each.
Told = Callable[[str], None]

# What a site says when it fails for a reason that it tells nobody.
CANNOT_ANSWER, CANNOT_TRAIN = "cannot-answer", "cannot-train"


class SiteAnswers(Protocol):
    """One site as its relay sees it: two questions, each with one answer.

    Guarantee: what goes wrong at the site is a refusal that names a rule alone.
    """

    def hello(self, asked: Envelope) -> Envelope:
        """Who the site is, and what is left of its budget; `asked` holds a `HelloQuestion`."""

    def train(self, asked: Envelope, told: Told) -> Envelope:
        """The sealed update for a task, with the head of the ledger, or a refusal.

        `told` is called with the name of each stage of a task that trains anew.
        """


def refusal(site: str, rule: str) -> Envelope:
    """A site's no."""
    return Envelope(frame=RefusalHeader(site=site, rule=rule).frame())


def nobody(stage: str) -> None:
    """For who need not be told."""
