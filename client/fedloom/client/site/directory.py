"""The sites that this process serves, each found by its own settings file and kept."""

import threading
from collections.abc import Callable
from pathlib import Path

from fedloom.client.site.config import SiteConfig, read_site_config
from fedloom.client.site.policy.document import Policy, read_policy
from fedloom.client.site.service import SiteService
from fedloom.client.training.pool import TrainerPool
from fedloom.shared.errors import ConfigError

_Settings = tuple[SiteConfig, Policy]


class SiteDirectory:
    """Services by the path of their settings; base models are shared between them.

    `check_held` refuses while what this process holds of its sites is no longer theirs.
    """

    def __init__(self, check_held: Callable[[], None] = lambda: None) -> None:
        self._check_held = check_held
        self._services: dict[Path, tuple[_Settings, SiteService]] = {}
        self._one_at_a_time = threading.Lock()
        self.trainers = TrainerPool()

    def service(self, path: Path) -> SiteService:
        """The service of the site whose settings lie at `path`, as they and its policy now are.

        A steward who lowers a budget must not have to restart anything for it to hold.

        Raises:
            ConfigError: the settings or the policy cannot be read, or they now name another
                ledger or other records than the ones that this process holds.
            SiteRefusal: what it holds was replaced.
        """
        with self._one_at_a_time:
            self._check_held()
            config = read_site_config(path)
            settings = (config, read_policy(config.policy))
            known = self._services.get(path)
            if known is not None and known[0] == settings:
                return known[1]
            if known is not None:
                _check_same_dataset(known[0][0], config, path)
            service = SiteService(*settings, self.trainers, check_held=self._check_held)
            self._services[path] = (settings, service)
            return service


def _check_same_dataset(before: SiteConfig, now: SiteConfig, path: Path) -> None:
    if (before.state, before.source.path) != (now.state, now.source.path):
        problem = "state or source.path changed, expected a restart: it holds the ones before"
        raise ConfigError(str(path), [problem])
