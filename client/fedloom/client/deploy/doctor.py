"""`fedloom doctor` at a site."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from fedloom.client.deploy.link_folder import LinkFolder
from fedloom.client.rpc.address import read_address
from fedloom.client.site.checking import check_site
from fedloom.client.site.config import SiteConfig, read_site_config
from fedloom.client.site.opening import link_of
from fedloom.shared.doctor.machine import disk, ports, private_files, versions
from fedloom.shared.doctor.reach import server
from fedloom.shared.doctor.symptom import Look, Symptom
from fedloom.shared.errors import CredentialError
from fedloom.shared.health import is_healthy
from fedloom.shared.locks import is_locked


def site_looks(settings: Path) -> list[Look]:
    """What to look at for the site whose settings lie there.

    Raises:
        ConfigError: they cannot be read.
    """
    config, link = read_site_config(settings), LinkFolder.of(settings)
    inner = {"node": config.node.port, "its health": config.node.health_port}
    running = _node_runs(config, link)
    return [
        Look(topic="this page", find=_for_whom),
        Look(topic="versions", find=versions),
        Look(topic="site", find=lambda: _checked(settings)),
        *_link_looks(settings, config, link),
        Look(topic="ports", find=lambda: ports(inner, running=running)),
        Look(topic="trainer", find=lambda: _trainer(config)),
        Look(topic="disk", find=lambda: disk(config.state, link.path)),
    ]


def _link_looks(settings: Path, config: SiteConfig, link: LinkFolder) -> list[Look]:
    """What `fedloom site join` makes; before it, that it is yet to be done, and nothing else."""
    if not _has_joined(link):
        return [Look(topic="joined", find=lambda: _not_joined(settings, config))]

    def reach() -> Iterator[Symptom]:
        kit = link.kit()
        return server(kit.server, kit.authority)

    return [
        Look(topic="joined", find=lambda: _joined(config, link)),
        Look(topic="keys", find=lambda: private_files(*link.private)),
        Look(topic="server", find=reach),
    ]


def _has_joined(link: LinkFolder) -> bool:
    try:
        return link.kit_file.is_file()
    except PermissionError:
        # Another user's: each look at it says so.
        return True


def _node_runs(config: SiteConfig, link: LinkFolder) -> bool:
    """By its lock: on its ports another site's node may answer."""
    try:
        return is_locked(link.node_lock)
    except PermissionError:
        return is_healthy(f"127.0.0.1:{config.node.health_port}")


def _not_joined(settings: Path, config: SiteConfig) -> Iterator[Symptom]:
    folder = shlex.quote(str(settings.parent))
    yield Symptom(
        text="this site has not joined",
        mend=f"fedloom site request {folder}, then fedloom site join {folder} {config.name}.kit",
    )


def _for_whom() -> Iterator[Symptom]:
    # What a check says of the records is exact, and no noise was added to it.
    yield Symptom(text="is for the site alone: it may hold exact counts of records")


def _checked(settings: Path) -> Iterator[Symptom]:
    """`fedloom site check` in short: records, model and its hash, policy, ledger, permissions."""
    findings = check_site(settings)
    problems = [finding for finding in findings if finding.level == "problem"]
    for finding in problems:
        yield Symptom(text=f"{finding.topic}: {finding.text}", mend="as fedloom site check says")
    if not problems:
        yield Symptom(text="records, model, policy, ledger and permissions are in order")


def _joined(config: SiteConfig, link: LinkFolder) -> Iterator[Symptom]:
    kit = link.kit()
    own, node = link_of(config), link.find_node_key()
    if own is None or own.coordinator != kit.coordinator:
        raise CredentialError(
            "coordinator.public_key: not the kit's, expected a site that joined (site join)"
        )
    if node is None or (own.key.public, node.public) != (kit.keys.link, kit.keys.node):
        raise CredentialError("keys: not the kit's, expected a kit for this site's own keys")
    yield Symptom(text=f"{kit.federation} as {kit.site}, coordinator {kit.coordinator[:12]}…")


def _trainer(config: SiteConfig) -> Iterator[Symptom]:
    address = config.service.address
    if not address.startswith("unix:"):
        yield Symptom(text=f"on {address}: fedloom site status says whether it answers")
        return
    target = read_address(address, None, side="relay").target
    up = is_healthy(target)
    yield Symptom(text="answers" if up else "not up; fedloom site up starts it and the node")
