"""The protocol of an executor, and the error reply that stands for a failed site."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from flwr.app import Context, Error, Message
from flwr.common.constant import ErrorCode


@dataclass(frozen=True, kw_only=True)
class Job:
    """One message for one node, with the context that its ClientApp sees."""

    message: Message
    context: Context

    @property
    def expires_at(self) -> float:
        """Unix time after which nobody waits for the answer."""
        return self.message.metadata.created_at + self.message.metadata.ttl


class Executor(Protocol):
    """Runs jobs and gives each exactly one reply: the ClientApp's, or an error."""

    def submit(self, job: Job) -> None:
        """Queue a job."""

    def collect(self) -> Iterable[Message]:
        """Replies that have come since the last call; may do some of the work."""

    def close(self) -> None:
        """Stop, and drop what is queued."""


def failed(job: Job, reason: str) -> Message:
    """The reply for a ClientApp that failed; `reason` is ours, never an exception's text."""
    error = Error(code=ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason=reason)
    return Message(error, reply_to=job.message)


def expired(job: Job) -> Message:
    """The reply for a job that nobody waits for any more."""
    error = Error(code=ErrorCode.REPLY_MESSAGE_UNAVAILABLE, reason="no answer in time")
    return Message(error, reply_to=job.message)
