"""Runs ClientApps in worker processes, several sites side by side."""

import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection, wait

from flwr.app import Message
from flwr.common.serde import context_to_proto, message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage

from fedloom.simulation.executors.base import Job, expired, failed

# One collect waits this long for a reply, so that an idle server does not spin.
_WAIT_SECONDS = 0.02
_WORKER = "fedloom.simulation.executors.worker"


class Worker:
    """One process, at work on one job at a time."""

    def __init__(self, component: str) -> None:
        ours, theirs = socket.socketpair()
        lifeline_end, self._lifeline = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", _WORKER, str(theirs.fileno()), str(lifeline_end), component],
            pass_fds=(theirs.fileno(), lifeline_end),
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            # A Ctrl-C at the terminal is the parent's to handle.
            process_group=0,
        )
        os.close(lifeline_end)
        theirs.close()
        self.connection = Connection(ours.detach())
        self.job: Job | None = None

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def give(self, job: Job) -> None:
        """Hand over a job; a process that died is noticed by `take`."""
        self.job = job
        try:
            self.connection.send_bytes(context_to_proto(job.context).SerializeToString())
            self.connection.send_bytes(message_to_proto(job.message).SerializeToString())
        except (BrokenPipeError, ConnectionResetError):
            self._process.kill()

    def take(self) -> Message | None:
        """The reply to the job, or None when the process died."""
        self.job = None
        try:
            content = self.connection.recv_bytes()
        except (EOFError, ConnectionResetError):
            return None
        return message_from_proto(ProtoMessage.FromString(content))

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        self.connection.close()
        os.close(self._lifeline)


_ENVIRONMENT = {
    # Workers share the cores between them: one computing thread each.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # A site never downloads anything.
    "HF_HUB_OFFLINE": "1",
}


class PoolExecutor:
    """`workers` processes; a job whose process dies or whose time is up gets an error reply."""

    def __init__(self, component: str, *, workers: int) -> None:
        self._component = component
        self._queue: deque[Job] = deque()
        self._workers = [Worker(component) for _ in range(workers)]

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        return tuple(worker.pid for worker in self._workers)

    def submit(self, job: Job) -> None:
        """Give the job to an idle worker, or queue it."""
        self._queue.append(job)
        self._dispatch()

    def collect(self) -> Iterable[Message]:
        """Replies that are ready, and error replies for what died or expired."""
        found = [*self._ready(), *self._expired()]
        self._dispatch()
        return found

    def close(self) -> None:
        """Kill the workers and drop what is queued."""
        self._queue.clear()
        for worker in self._workers:
            worker.kill()
        self._workers = []

    def _dispatch(self) -> None:
        for worker in self._workers:
            if worker.job is None and self._queue:
                worker.give(self._queue.popleft())

    def _ready(self) -> Iterator[Message]:
        busy = {w.connection: w for w in self._workers if w.job is not None}
        for connection in wait(list(busy), timeout=_WAIT_SECONDS):
            worker = busy[connection]  # type: ignore[index]
            job = worker.job
            reply = worker.take()
            if job is not None and reply is None:
                self._replace(worker)
                reply = failed(job, "the worker process died")
            if reply is not None:
                yield reply

    def _expired(self) -> Iterator[Message]:
        now = time.time()
        for worker in list(self._workers):
            if worker.job is not None and now > worker.job.expires_at:
                yield expired(worker.job)
                self._replace(worker)
        late = [job for job in self._queue if now > job.expires_at]
        for job in late:
            self._queue.remove(job)
            yield expired(job)

    def _replace(self, worker: Worker) -> None:
        worker.kill()
        self._workers[self._workers.index(worker)] = Worker(self._component)
