"""The processes of a server: Flower's, the proxy, and the keeper."""

import shutil

from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.launch import CONTROL_TOKEN
from fedloom.server.deploy.proxy import make_folders, nginx_config
from fedloom.shared.errors import DeployError
from fedloom.shared.files import make_folder, write_durably
from fedloom.shared.supervising import Process, own_module

HOME = "FEDLOOM_SERVER_HOME"


def server_processes(home: ServerHome) -> list[Process]:
    """Flower's server, what starts a ServerApp, the proxy before it, and the keeper.

    Raises:
        ConfigError: no settings.
        DeployError: there is no nginx.
    """
    settings = home.settings()
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if nginx is None:
        raise DeployError("nginx: not installed, expected it for the proxy (apt install nginx)")
    launch = own_module("fedloom.server.deploy.launch")
    inner = f"127.0.0.1:{settings.superlink_port}"
    superlink = Process(
        name="superlink",
        command=[
            *launch, "superlink",
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
    )  # fmt: skip
    superexec = Process(
        name="superexec",
        command=[
            *launch, "superexec",
            "--runtime-api-address", inner,
            "--root-certificates", str(home.authority),
            "--superexec-auth-secret-file", str(home.superexec_secret),
        ],
        environment={
            "FLWR_HOME": str(home.flower / "superexec"),
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.3",
            HOME: str(home.path),
        },
        # The ServerApp that it starts has a log of its own.
        writes=[home.flower, home.runs, home.logs],
    )  # fmt: skip
    proxy = Process(
        name="proxy",
        command=[
            nginx,
            "-p",
            str(home.proxy),
            "-e",
            "stderr",
            "-c",
            str(home.proxy / "nginx.conf"),
        ],
        writes=[home.proxy, home.logs],
    )
    keeper = Process(
        name="keeper",
        command=[*own_module("fedloom.server.deploy.keep"), str(home.path)],
        environment={"FLWR_HOME": str(home.flower / "keeper")},
        # The proxy's log is the keeper's to rotate.
        writes=[home.runs, home.flower, home.logs],
    )
    return [superlink, superexec, proxy, keeper]


def write_process_files(home: ServerHome) -> None:
    """The folders that the processes want, and the proxy's configuration."""
    for folder in (home.flower, home.logs, home.runs, home.proxy):
        make_folder(folder)
    make_folders(home)
    content = nginx_config(home, home.settings())
    write_durably(home.proxy / "nginx.conf", content.encode())
