"""A server's metrics for Prometheus, read from its files at each scrape."""

from collections.abc import Iterator
from time import time

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.wanted import WantedRun, runs_of
from fedloom.server.run.budgets import read_budgets
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import Journal

_BY_RUN = ("run",)
_BY_SITE = ("run", "site")


class ServerMetrics(Collector):
    """Rounds, sites that counted or did not, and what sites declare is left of their budgets.

    All of it is what the coordinator knows anyway: nothing here depends on a record but through
    what the sites released.
    """

    def __init__(self, home: ServerHome) -> None:
        self._home = home

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family for each metric."""
        wanted = _gauge("run_wanted", "1 while the run is to go on", _BY_RUN)
        rounds = _gauge("run_rounds_done", "Durable rounds", _BY_RUN)
        total = _gauge("run_rounds_total", "Rounds of the plan", _BY_RUN)
        accepted = _gauge("round_accepted", "Updates that counted in the last round", _BY_RUN)
        took = _gauge("round_seconds", "Length of the last round", _BY_RUN)
        missed = _gauge("site_rounds_missed", "Rounds that a site did not count in", _BY_SITE)
        refused = _gauge("site_rounds_refused", "Rounds that a site refused by a rule", _BY_SITE)
        spent = _gauge("site_epsilon_spent", "Epsilon that a site declares as spent", _BY_SITE)
        allowed = _gauge("site_epsilon_allowed", "Epsilon that a site's policy allows", _BY_SITE)
        now = GaugeMetricFamily("fedloom_scraped_seconds", "When this was read, since 1970", time())
        for folder, run in runs_of(self._home):
            _add_run(folder, run, wanted=wanted, total=total)
            entries = Journal(folder.rounds).entries()
            rounds.add_metric([run.name], len(entries))
            if entries:
                accepted.add_metric([run.name], entries[-1].accepted)
                took.add_metric([run.name], entries[-1].seconds)
            for site in {at.site for entry in entries for at in entry.sites}:
                rows = [at for entry in entries for at in entry.sites if at.site == site]
                missed.add_metric([run.name, site], sum(at.fault is not None for at in rows))
                refused.add_metric([run.name, site], sum(at.refused_by is not None for at in rows))
            for site, budget in read_budgets(folder.budgets).items():
                allowed.add_metric([run.name, site], budget.epsilon_allowed)
                if budget.epsilon_spent is not None:
                    spent.add_metric([run.name, site], budget.epsilon_spent)
        yield from (now, wanted, rounds, total, accepted, took, missed, refused, spent, allowed)


def _gauge(name: str, words: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fedloom_{name}", words, labels=labels)


def _add_run(
    folder: RunFolder, run: WantedRun, *, wanted: GaugeMetricFamily, total: GaugeMetricFamily
) -> None:
    wanted.add_metric([run.name], float(run.state == "wanted"))
    total.add_metric([run.name], folder.read_plan().rounds.total)
