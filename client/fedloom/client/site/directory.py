"""The sites that this process serves, each found by its own settings file and kept."""

from pathlib import Path

from fedloom.client.site.config import read_site_config
from fedloom.client.site.service import SiteService
from fedloom.client.training.pool import TrainerPool


class SiteDirectory:
    """Services by the path of their settings; base models are shared between them."""

    def __init__(self) -> None:
        self._services: dict[Path, SiteService] = {}
        self._trainers = TrainerPool()

    def service(self, settings: Path) -> SiteService:
        """The service of the site whose settings lie at `settings`, as they now are.

        A steward who lowers a budget must not have to restart anything for it to hold.

        Raises:
            ConfigError: the settings cannot be read.
        """
        config = read_site_config(settings)
        known = self._services.get(settings)
        if known is None or known.config != config:
            self._services[settings] = SiteService(config, self._trainers)
        return self._services[settings]
