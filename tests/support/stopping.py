"""An executor that stops a run as Ctrl-C does, at a job of one's choice."""

from collections.abc import Iterable

from flwr.app import Message

from fedloom.client.app import make_client_app
from fedloom.client.site.directory import SiteDirectory
from fedloom.simulation.executors.serial import SerialExecutor
from fedloom.simulation.site_app import in_process


class StoppingExecutor(SerialExecutor):
    """Honest sites in this process, and an interruption before their job number `at`, the first
    being 1; none without."""

    def __init__(self, at: int | None = None) -> None:
        super().__init__(make_client_app(in_process(SiteDirectory())))
        self.jobs = 0
        self._at = at

    def collect(self) -> Iterable[Message]:
        """Run the oldest job, or stop."""
        self.jobs += 1
        if self.jobs == self._at:
            raise KeyboardInterrupt
        return super().collect()
