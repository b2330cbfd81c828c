"""The processes of a site: the trainer service, Flower's node, and what starts a relay."""

from pathlib import Path

from fedloom.client.deploy.link_folder import LinkFolder
from fedloom.client.rpc.address import UNIX, read_address
from fedloom.client.rpc.remote import SITE_SERVICE, SITE_SERVICE_TLS
from fedloom.client.site.config import SiteConfig, read_site_config
from fedloom.shared.errors import ConfigError, CredentialError
from fedloom.shared.files import make_folder
from fedloom.shared.kits.document import Kit
from fedloom.shared.supervising import Process, own_module

_LAUNCH = "fedloom.client.deploy.launch"
_NODE_USER = "fedloom-node"


def site_processes(settings: Path) -> list[Process]:
    """Trainer, node and executor of the site whose settings lie there; nothing is written.

    The node and the executor are given the service's address and the link, and no path to
    records, policy or ledger: in a deployment they are another user's.

    Raises:
        ConfigError: the site has no coordinator, or its settings are wrong.
        CredentialError: it has not joined, or its link is another coordinator's.
    """
    settings = settings.absolute()
    config, link = read_site_config(settings), LinkFolder.of(settings)
    kit = _own_kit(settings, config, link)
    return [_trainer(settings, config), _node(config, link, kit), _relays(config, link)]


def check_two_users(settings: Path) -> None:
    """Make sure that a node of another user reaches the trainer service.

    Raises:
        ConfigError: the service is on a socket, which is its own user's alone.
    """
    if read_site_config(settings).service.address.startswith(UNIX):
        problem = (
            f"service.address is a socket that {_NODE_USER} cannot open; begin the site with "
            "--two-users"
        )
        raise ConfigError(str(settings), [problem])


def supervisor_folder(settings: Path, only: str | None) -> Path:
    """Where the supervisor of a part of the site has its settings, its socket and `logs`.

    What starts a trainer is not to lie where the node's user may write.
    """
    link = LinkFolder.of(settings)
    folder = link.path if only == "node" else read_site_config(settings).state / "supervisor"
    make_folder(folder)
    make_folder(folder / "logs")
    return folder


def _own_kit(settings: Path, config: SiteConfig, link: LinkFolder) -> Kit:
    """The link may be the node's user's; whom the site listens to, its own settings say."""
    known = config.coordinator.public_key
    if known is None:
        problem = "coordinator.public_key: missing, expected a site that joined (fedloom site join)"
        raise ConfigError(str(settings), [problem])
    kit = link.kit()
    if kit.coordinator != known:
        raise CredentialError(
            f"{link.kit_file}: of coordinator {kit.coordinator[:12]}…, expected {known[:12]}… as "
            f"coordinator.public_key in {settings}"
        )
    if not link.runtime_authority.is_file():
        raise CredentialError(
            f"{link.runtime_authority}: no such file, expected it from fedloom site join"
        )
    return kit


def _trainer(settings: Path, config: SiteConfig) -> Process:
    serve = ["site", "serve", "--log-json", "--metrics", str(settings)]
    return Process(
        name="trainer",
        command=[*own_module("fedloom.cli"), *serve],
        writes=[config.state, *_written_elsewhere(config)],
        # A GPU is a device.
        devices=config.compute.device != "cpu",
        loopback=True,
        user="fedloom-trainer",
    )


def _node(config: SiteConfig, link: LinkFolder, kit: Kit) -> Process:
    return Process(
        name="node",
        command=[
            *own_module(_LAUNCH), "supernode",
            "--superlink", kit.server,
            "--root-certificates", str(link.authority),
            "--auth-supernode-private-key", str(link.node_key),
            "--host", "127.0.0.1",
            "--port", str(config.node.port),
            "--ssl-certfile", str(link.runtime_certificate),
            "--ssl-keyfile", str(link.runtime_key),
            "--ssl-ca-certfile", str(link.runtime_authority),
            "--health-server-address", f"127.0.0.1:{config.node.health_port}",
            "--isolation", "process",
            "--superexec-auth-secret-file", str(link.node_secret),
            "--trusted-entities", str(link.trusted),
            "--node-config", _node_config(config),
        ],
        environment={"FLWR_HOME": str(link.flower / "node")},
        # Not the whole link: whom the node trusts, it must not say itself.
        writes=[link.flower, link.logs],
        hidden=_trainers_own(config),
        user=_NODE_USER,
    )  # fmt: skip


def _relays(config: SiteConfig, link: LinkFolder) -> Process:
    return Process(
        name="relays",
        command=[
            *own_module(_LAUNCH), "superexec",
            "--runtime-api-address", f"127.0.0.1:{config.node.port}",
            # Whoever has the node's port while the node is down is not taken for the node.
            "--root-certificates", str(link.runtime_authority),
            "--superexec-auth-secret-file", str(link.node_secret),
        ],
        environment={
            "FLWR_HOME": str(link.flower / "relays"),
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.3",
        },
        writes=[link.flower, link.logs],
        hidden=[*_trainers_own(config), link.node_key, link.runtime_key],
        loopback=True,
        user=_NODE_USER,
    )  # fmt: skip


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
