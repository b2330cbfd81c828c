"""The processes of a server: Flower's, the proxy, and the keeper."""

import shutil

from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.launch import CONTROL_TOKEN
from fedloom.server.deploy.proxy import make_folders, nginx_config
from fedloom.server.deploy.settings import ServerSettings
from fedloom.shared.errors import DeployError
from fedloom.shared.files import make_folder
from fedloom.shared.ports import is_taken
from fedloom.shared.supervising import Process, own_module

HOME = "FEDLOOM_SERVER_HOME"
_LAUNCH = "fedloom.server.deploy.launch"


def server_processes(home: ServerHome) -> list[Process]:
    """Flower's server, what starts a ServerApp, the proxy before it, and the keeper.

    Nothing is written. Each is kept from the keys and folders that are others'.

    Raises:
        ConfigError: no settings.
        DeployError: there is no nginx, or it cannot name the folder.
    """
    settings = home.settings()
    # Told here, so that it is not each start of the proxy that finds it wrong.
    nginx_config(home, settings)
    return [_superlink(home, settings), _superexec(home, settings), _proxy(home), _keeper(home)]


def make_home(home: ServerHome) -> None:
    """The folders that the processes want."""
    for folder in (home.flower, home.logs, home.runs, home.heads.parent, home.proxy):
        make_folder(folder)
    make_folders(home)


def taken_ports(home: ServerHome) -> str | None:
    """What something else has of the server, in words: it would be started again for ever.

    Raises:
        ConfigError: no settings.
    """
    if home.is_up:
        return f"{home.path}: another keeper tends it, expected none"
    settings = home.settings()
    for port in settings.inner_ports:
        if is_taken(port):
            return f"port {port} is taken, choose another inner_port in server.toml"
    if is_taken(settings.port, settings.listen):
        # Kits name it.
        return f"port {settings.port} is taken, expected it free for the sites"
    return None


def _superlink(home: ServerHome, settings: ServerSettings) -> Process:
    return Process(
        name="superlink",
        command=[
            *own_module(_LAUNCH), "superlink",
            "--host", "127.0.0.1",
            "--port", str(settings.superlink_port),
            "--ssl-ca-certfile", str(home.authority),
            "--ssl-certfile", str(home.certificate),
            "--ssl-keyfile", str(home.certificate_key),
            "--enable-supernode-auth",
            "--isolation", "process",
            "--superexec-auth-secret-file", str(home.superexec_secret),
            "--database", str(home.flower / "state.db"),
            "--health-server-address", f"127.0.0.1:{settings.health_port}",
            "--disable-runtime-dependency-installation",
        ],
        environment={
            "FLWR_HOME": str(home.flower / "superlink"),
            "FLWR_SUPERGRID_API_URL": f"http://127.0.0.1:{settings.hub_port}/v1",
            CONTROL_TOKEN: str(home.control_token),
        },
        writes=[home.flower],
        hidden=[home.coordinator_key, home.runs, home.heads.parent],
        loopback=True,
    )  # fmt: skip


def _superexec(home: ServerHome, settings: ServerSettings) -> Process:
    return Process(
        name="superexec",
        command=[
            *own_module(_LAUNCH), "superexec",
            "--runtime-api-address", f"127.0.0.1:{settings.superlink_port}",
            "--root-certificates", str(home.authority),
            "--superexec-auth-secret-file", str(home.superexec_secret),
        ],
        environment={
            "FLWR_HOME": str(home.flower / "superexec"),
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.3",
            HOME: str(home.path),
        },
        # The ServerApp that it starts has a log of its own, and keeps the heads of ledgers.
        writes=[home.flower, home.runs, home.logs, home.heads.parent],
        hidden=[home.control_token, home.certificate_key],
        loopback=True,
    )  # fmt: skip


def _proxy(home: ServerHome) -> Process:
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if nginx is None:
        raise DeployError("nginx: not installed, expected it for the proxy (apt install nginx)")
    return Process(
        name="proxy",
        command=[*own_module(_LAUNCH), "proxy", nginx, str(home.path)],
        writes=[home.proxy, home.logs],
        # It alone is reached from outside.
        hidden=[
            home.coordinator_key,
            home.control_token,
            home.superexec_secret,
            home.runs,
            home.heads.parent,
            home.flower,
        ],
    )


def _keeper(home: ServerHome) -> Process:
    return Process(
        name="keeper",
        command=[*own_module("fedloom.server.deploy.keep"), str(home.path)],
        environment={"FLWR_HOME": str(home.flower / "keeper")},
        # The proxy's log is the keeper's to rotate.
        writes=[home.runs, home.flower, home.logs],
        hidden=[home.superexec_secret, home.certificate_key],
        loopback=True,
    )
