"""Which nodes Flower's server lets in: those of the sites that have a kit, and no others."""

import logging

from fedloom.server.deploy.control import Control, node_public_key
from fedloom.server.deploy.home import ServerHome
from fedloom.shared.errors import DeployError

logger = logging.getLogger("fedloom.keeper")


class Nodes:
    """Keeps Flower's list of nodes the same as the server's list of sites."""

    def __init__(self, home: ServerHome, control: Control) -> None:
        self._home = home
        self._control = control
        self._turned_away: set[bytes] = set()

    def tend(self) -> None:
        """Let in who is missing, and out who was removed.

        Raises:
            DeployError: Flower's server is away.
            CredentialError: the sites' keys cannot be read.
        """
        wanted = {name: node_public_key(keys.node) for name, keys in self._home.sites().items()}
        known = {node.public_key: node for node in self._control.nodes()}
        for key, node in known.items():
            if key not in wanted.values():
                self._control.unregister(node.node_id)
                logger.info("node %s: its site was removed", node.name)
        for name, key in wanted.items():
            if key not in known:
                self._register(name, key)

    def _register(self, name: str, key: bytes) -> None:
        try:
            self._control.register(name, key)
            logger.info("site %s: its node may come", name)
        except DeployError as error:
            # Flower never takes the key of a node that was removed once: no reason to let the
            # runs of all others wait.
            if key not in self._turned_away:
                logger.error("site %s: its node is not let in: %s", name, error)
            self._turned_away.add(key)
