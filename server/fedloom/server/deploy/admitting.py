"""Whether the keys that a site asks with may stand for it."""

from collections.abc import Mapping

from fedloom.server.deploy.control import node_public_key
from fedloom.server.deploy.home import ServerHome
from fedloom.shared.errors import CredentialError
from fedloom.shared.kits.document import SiteRequest


def check_keys(home: ServerHome, asked: Mapping[str, SiteRequest | None]) -> None:
    """Make sure that each request is with keys that no other site has, and none had before.

    One party would else count as two; and a removed site's keys may be lost, or known to others.

    Raises:
        CredentialError: one is not.
    """
    sites = home.sites().values()
    nodes = {node_public_key(keys.node) for keys in sites}
    nodes |= {node_public_key(key) for key in home.removed()}
    links = {keys.link for keys in sites}
    for site, request in asked.items():
        if request is None:
            continue
        node = node_public_key(request.keys.node)
        if node in nodes or request.keys.link in links:
            raise CredentialError(
                f"request of {site}: its keys are another site's or a removed one's, expected new "
                "keys (without link/node.key, fedloom site request makes them)"
            )
        nodes.add(node)
        links.add(request.keys.link)
