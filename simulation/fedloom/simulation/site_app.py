"""The ClientApp of a simulation: the same relay, over sites that live in the same process."""

from pathlib import Path

from fedloom.client.app import Connect, NodeConfig, make_client_app
from fedloom.client.site.desk import SiteDesk
from fedloom.client.site.directory import SiteDirectory

# The key in a simulated node's config that holds the path of the site's settings.
SITE_SETTINGS = "site-settings"


def in_process(directory: SiteDirectory) -> Connect:
    """Finds a node's site among those of this process, by its settings file."""

    def connect(node: NodeConfig) -> SiteDesk:
        return SiteDesk(Path(str(node.get(SITE_SETTINGS, ""))), directory)

    return connect


app = make_client_app(in_process(SiteDirectory()))
