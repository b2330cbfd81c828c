"""Runs ClientApps in this process, one after another, when somebody asks for replies."""

from collections import deque
from collections.abc import Iterable

from flwr.app import Message
from flwr.clientapp import ClientApp

from fedloom.simulation.executors.base import Job, failed


class SerialExecutor:
    """One job for each `collect`, so that one reply at a time is in memory.

    Cannot interrupt a ClientApp that hangs, nor survive one that kills its process: use worker
    processes for that.
    """

    def __init__(self, app: ClientApp) -> None:
        self._app = app
        self._queue: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._queue.append(job)

    def collect(self) -> Iterable[Message]:
        """Run the oldest job."""
        if not self._queue:
            return []
        job = self._queue.popleft()
        try:
            return [self._app(job.message, job.context)]
        except Exception:  # noqa: BLE001 - a site may raise anything; it must not stop the others
            return [failed(job, "the ClientApp raised")]

    def close(self) -> None:
        """Drop what is queued."""
        self._queue.clear()
