"""A site's metrics for Prometheus, on loopback: what its steward may see at any time."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fedloom.client.site.budget import budget_of
from fedloom.client.site.opening import approvals_of, ledger_of
from fedloom.client.site.steward import Steward
from fedloom.shared import scraping
from fedloom.shared.errors import FedLoomError


class SiteMetrics(Collector):
    """Budget, ledger and plans that wait, read anew each time that it is asked.

    All of it follows from the policy and from public numbers of plans: nothing here depends on
    a record. While the ledger cannot be read, only that is told.
    """

    def __init__(self, settings: Path) -> None:
        self._settings = settings

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family for each metric."""
        try:
            yield from self._read()
            whole = 1.0
        except FedLoomError:
            whole = 0.0
        yield _gauge("ledger_whole", "1 while settings, policy and ledger can be read", whole)

    def _read(self) -> Iterator[GaugeMetricFamily]:
        steward = Steward.of(self._settings)
        ledger = ledger_of(steward.config)
        budget = budget_of(steward.config, steward.policy, ledger.spent())
        yield _gauge("epsilon_allowed", "Epsilon that the policy allows", budget.epsilon_allowed)
        if budget.epsilon_spent is not None:
            yield _gauge("epsilon_spent", "Epsilon spent over all runs", budget.epsilon_spent)
        yield _gauge("ledger_entries", "Entries of the ledger", ledger.chain().length)
        waiting = len(approvals_of(steward.config).waiting())
        yield _gauge("plans_waiting", "Plans that wait for the steward", waiting)


def serving_metrics(settings: Path, port: int) -> AbstractContextManager[None]:
    """The metrics on a port of loopback, for the length of the block."""
    return scraping.serving_metrics(SiteMetrics(settings), port)


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fedloom_site_{name}", words, value=value)
