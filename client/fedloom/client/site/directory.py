"""The sites that this process serves, each found by its own settings file and kept."""

from pathlib import Path

from fedloom.client.site.config import SiteConfig, read_site_config
from fedloom.client.site.policy.document import Policy, read_policy
from fedloom.client.site.service import SiteService
from fedloom.client.training.pool import TrainerPool

_Settings = tuple[SiteConfig, Policy]


class SiteDirectory:
    """Services by the path of their settings; base models are shared between them."""

    def __init__(self) -> None:
        self._services: dict[Path, tuple[_Settings, SiteService]] = {}
        self.trainers = TrainerPool()

    def service(self, path: Path) -> SiteService:
        """The service of the site whose settings lie at `path`, as they and its policy now are.

        A steward who lowers a budget must not have to restart anything for it to hold.

        Raises:
            ConfigError: the settings or the policy cannot be read.
        """
        config = read_site_config(path)
        settings = (config, read_policy(config.policy))
        known = self._services.get(path)
        if known is None or known[0] != settings:
            self._services[path] = (settings, SiteService(*settings, self.trainers))
        return self._services[path][1]
