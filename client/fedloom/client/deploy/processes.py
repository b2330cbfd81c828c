"""The processes of a site: the trainer service, Flower's node, and what starts a relay."""

import secrets
from pathlib import Path

from fedloom.client.deploy.link_folder import LinkFolder
from fedloom.client.rpc.address import read_address
from fedloom.client.rpc.remote import SITE_SERVICE, SITE_SERVICE_TLS
from fedloom.client.site.config import SiteConfig, read_site_config
from fedloom.shared.errors import ConfigError
from fedloom.shared.files import make_folder, write_durably
from fedloom.shared.supervising import Process, own_module

_PRIVATE = 0o600


def site_processes(settings: Path) -> list[Process]:
    """Trainer, node and executor of the site whose settings lie there.

    The node and the executor are given the service's address and the link, and no path to
    records, policy or ledger: in a deployment they are another user's.

    Raises:
        ConfigError: the site has no coordinator, or its settings are wrong.
        CredentialError: it has not joined.
    """
    settings = settings.absolute()
    config, link = read_site_config(settings), LinkFolder.of(settings)
    if config.coordinator.public_key is None:
        problem = "coordinator.public_key: missing, expected a site that joined (fedloom site join)"
        raise ConfigError(str(settings), [problem])
    kit = link.kit()
    launch = own_module("fedloom.client.deploy.launch")
    inner = f"127.0.0.1:{config.node.port}"
    secret = str(link.node_secret)
    trainer = Process(
        name="trainer",
        command=[
            *own_module("fedloom.cli"),
            "site",
            "serve",
            "--log-json",
            "--metrics",
            str(settings),
        ],
        writes=[config.state, *_written_elsewhere(config)],
        # A GPU is a device.
        devices=config.compute.device != "cpu",
        user="fedloom-trainer",
    )
    node = Process(
        name="node",
        command=[
            *launch, "supernode",
            "--superlink", kit.server,
            "--root-certificates", str(link.authority),
            "--auth-supernode-private-key", str(link.node_key),
            "--host", "127.0.0.1",
            "--port", str(config.node.port),
            "--health-server-address", f"127.0.0.1:{config.node.health_port}",
            "--isolation", "process",
            "--superexec-auth-secret-file", secret,
            "--trusted-entities", str(link.trusted),
            "--node-config", _node_config(config),
        ],
        environment={"FLWR_HOME": str(link.path / "flower" / "node")},
        writes=[link.path],
        hidden=_trainers_own(config),
        user="fedloom-node",
    )  # fmt: skip
    relays = Process(
        name="relays",
        command=[
            *launch, "superexec",
            "--runtime-api-address", inner,
            "--insecure",
            "--superexec-auth-secret-file", secret,
        ],
        environment={
            "FLWR_HOME": str(link.path / "flower" / "relays"),
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.3",
        },
        writes=[link.path],
        hidden=_trainers_own(config),
        user="fedloom-node",
    )  # fmt: skip
    return [trainer, node, relays]


def write_process_files(settings: Path) -> Path:
    """The folder for logs and the supervisor, and the secret between node and executor."""
    link = LinkFolder.of(settings)
    make_folder(link.logs)
    make_folder(link.path / "flower")
    if not link.node_secret.exists():
        write_durably(link.node_secret, secrets.token_hex(32).encode(), mode=_PRIVATE)
    return link.logs


def _trainers_own(config: SiteConfig) -> list[Path]:
    """What a node must not find: records, what is as private as they are, and keys."""
    maybe = (config.cache.folder, config.key.passphrase_file, config.service.tls)
    return [config.source.path, config.state, *(path for path in maybe if path is not None)]


def _written_elsewhere(config: SiteConfig) -> list[Path]:
    scheme, _, socket = config.service.address.partition("unix:")
    maybe = (config.cache.folder, None if scheme else Path(socket).parent)
    return [path for path in maybe if path is not None]


def _node_config(config: SiteConfig) -> str:
    service = config.service
    # Checked here, so that it is not each message that finds it wrong.
    address = read_address(service.address, service.relay_tls, side="relay")
    named = f"{SITE_SERVICE}={_toml_text(address.target)}"
    if service.relay_tls is None:
        return named
    return f"{named} {SITE_SERVICE_TLS}={_toml_text(service.relay_tls)}"


def _toml_text(value: object) -> str:
    # Flower looks for the closing quote before it reads escapes.
    escaped = str(value).replace("\\", "\\u005c").replace('"', "\\u0022")
    return f'"{escaped}"'
