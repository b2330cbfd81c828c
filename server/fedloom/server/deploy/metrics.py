"""A server's metrics for Prometheus, read from its files."""

from collections.abc import Iterator, Mapping, Sequence
from time import time
from types import MappingProxyType

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.wanted import WantedRun, runs_of
from fedloom.server.run.budgets import read_budgets
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import Journal, RoundEntry, SiteRound
from fedloom.shared.errors import FedLoomError
from fedloom.shared.wire.messages import DeclaredBudget

_FAMILIES: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "run_wanted": ("1 while the run is to go on", ("run",)),
        "run_rounds_done": ("Durable rounds", ("run",)),
        "run_rounds_total": ("Rounds of the plan", ("run",)),
        "round_accepted": ("Updates that counted in the last round", ("run",)),
        "round_seconds": ("Length of the last round", ("run",)),
        "site_rounds_missed": ("Rounds that a site did not count in", ("run", "site")),
        "site_rounds_refused": ("Rounds that a site refused by a rule", ("run", "site")),
        "site_epsilon_spent": ("Epsilon that a site declares as spent", ("run", "site")),
        "site_epsilon_allowed": ("Epsilon that a site's policy allows", ("run", "site")),
        "run_damaged": ("1 while a run's files cannot be read", ("run",)),
    }
)
# Metric, value, and the site if it is one's.
_Sample = tuple[str, float, str | None]


class ServerMetrics(Collector):
    """Rounds, sites that counted or did not, and what sites declare is left of their budgets.

    All of it is what the coordinator knows anyway: nothing here depends on a record but through
    what the sites released. A run that is damaged is told as that, and hides no other.
    """

    def __init__(self, home: ServerHome) -> None:
        self._home = home

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family for each metric."""
        families = {
            name: GaugeMetricFamily(f"fedloom_{name}", words, labels=labels)
            for name, (words, labels) in _FAMILIES.items()
        }
        for folder, run in runs_of(self._home):
            for name, value, site in _samples(folder, run):
                labels = [run.name] if site is None else [run.name, site]
                families[name].add_metric(labels, value)
        yield GaugeMetricFamily("fedloom_scraped_seconds", "When this was read, since 1970", time())
        yield from families.values()


def _samples(folder: RunFolder, run: WantedRun) -> list[_Sample]:
    try:
        return [
            ("run_wanted", float(run.state == "wanted"), None),
            ("run_damaged", 0.0, None),
            ("run_rounds_total", folder.read_plan().rounds.total, None),
            *_of_rounds(Journal(folder.rounds).entries()),
            *_of_budgets(read_budgets(folder.budgets)),
        ]
    except FedLoomError:
        return [("run_damaged", 1.0, None)]


def _of_rounds(entries: Sequence[RoundEntry]) -> Iterator[_Sample]:
    yield "run_rounds_done", len(entries), None
    if entries:
        yield "round_accepted", entries[-1].accepted, None
        yield "round_seconds", entries[-1].seconds, None
    by_site: dict[str, list[SiteRound]] = {}
    for entry in entries:
        for at in entry.sites:
            by_site.setdefault(at.site, []).append(at)
    for site, rounds in by_site.items():
        yield "site_rounds_missed", sum(at.fault is not None for at in rounds), site
        yield "site_rounds_refused", sum(at.refused_by is not None for at in rounds), site


def _of_budgets(budgets: Mapping[str, DeclaredBudget]) -> Iterator[_Sample]:
    for site, budget in budgets.items():
        yield "site_epsilon_allowed", budget.epsilon_allowed, site
        if budget.epsilon_spent is not None:
            yield "site_epsilon_spent", budget.epsilon_spent, site
