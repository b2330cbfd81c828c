"""What is looked at before a site comes up: a process that cannot start would be tried for ever."""

from pathlib import Path

from fedloom.client.deploy.link_folder import LinkFolder
from fedloom.client.rpc.address import UNIX, host_and_port
from fedloom.client.site.config import SiteConfig, read_site_config
from fedloom.client.site.locks import SERVING_LOCK
from fedloom.client.site.policy.document import read_policy
from fedloom.shared.foreground import check_free
from fedloom.shared.locks import is_locked
from fedloom.shared.ports import is_taken


def check_can_come_up(settings: Path, folder: Path, only: str | None) -> SiteConfig:
    """Make sure that a site, or the part of it that is meant, can start; its settings.

    Raises:
        ConfigError: settings or policy cannot be read.
        DeployError: it is up already, or something else has one of its ports.
    """
    config, link = read_site_config(settings), LinkFolder.of(settings)
    if only != "node":
        # Of the node, the policy is hidden.
        read_policy(config.policy)
    check_free(config.name, folder, lambda: _taken(config, link, only))
    return config


def _taken(config: SiteConfig, link: LinkFolder, only: str | None) -> str | None:
    if only != "node" and is_locked(config.state / SERVING_LOCK):
        return f"{config.state}: another trainer service runs on it, expected none"
    if only != "trainer" and is_locked(link.node_lock):
        return f"{link.path}: another node runs on it, expected none"
    node = config.node
    trainers = [node.metrics_port] if only != "node" else []
    nodes = [node.port, node.health_port] if only != "trainer" else []
    for port in (*nodes, *trainers):
        if is_taken(port):
            return f"port {port} is taken, choose another node.port in site.toml"
    address = config.service.address
    if only != "node" and not address.startswith(UNIX) and is_taken(host_and_port(address)[1]):
        return f"{address} is taken, choose another service.address in site.toml"
    return None
