"""The proxy lets ten methods through, and nginx itself takes its settings."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.processes import make_home, server_processes
from fedloom.server.deploy.proxy import FLEET_METHODS, nginx_config
from fedloom.server.deploy.settings import ServerSettings
from fedloom.shared.errors import DeployError
from fedloom.shared.kits.authority import new_authority, new_server

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def a_home(path: Path, **changes: object) -> ServerHome:
    """A server's folder with certificates, enough for nginx to check its settings."""
    home = ServerHome(path)
    path.mkdir(parents=True)
    authority = new_authority("ours")
    server = new_server(authority, "localhost")
    home.authority.write_bytes(authority.certificate)
    home.certificate.write_bytes(server.certificate)
    home.certificate_key.write_bytes(server.key)
    fields = {"federation": "ours", "host": "localhost", "listen": "127.0.0.1", "port": 29443}
    home.write_settings(ServerSettings.model_validate(fields | changes))
    return home


@pytest.mark.skipif(NGINX is None, reason="no nginx here")
@pytest.mark.parametrize("name", ["server", "a folder; with #signs {and} 'more' %h"])
@pytest.mark.parametrize("listen", ["127.0.0.1", "::1", "localhost"])
def test_nginx_takes_it(tmp_path: Path, name: str, listen: str) -> None:
    home = a_home(tmp_path / name, listen=listen)
    make_home(home)
    command = [*next(p for p in server_processes(home) if p.name == "proxy").command, "-t"]
    # Changed since the folder was made: the proxy follows what is there as it starts.
    home.write_settings(home.settings().model_copy(update={"port": 29444}))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ":29444 ssl;" in (home.proxy / "nginx.conf").read_text()
    # Without IPv6 on this machine, the settings are still well formed.
    assert "syntax is ok" in done.stderr, done.stderr


@pytest.mark.parametrize("name", ['a"b', "a$b", "a\\b", "a\nb", "a\x7f"])
def test_a_folder_that_nginx_cannot_name_is_told_before_anything_runs(
    tmp_path: Path, name: str
) -> None:
    home = ServerHome(tmp_path / name)
    settings = ServerSettings(federation="ours", host="localhost")
    with pytest.raises(DeployError, match="expected a folder"):
        nginx_config(home, settings)


def test_only_a_nodes_own_methods_are_open(tmp_path: Path) -> None:
    text = nginx_config(ServerHome(tmp_path), ServerSettings(federation="ours", host="localhost"))
    paths = re.findall(r"location (\S+ \S+|\S+) \{", text)
    assert paths == [*(f"= /v1/fleet/{method}" for method in FLEET_METHODS), "/"]
    passed = re.findall(r"proxy_pass (\S+);", text)
    # A path of our own, never the peer's.
    assert passed == [f"https://superlink/v1/fleet/{method}" for method in FLEET_METHODS]
    assert not {"register-node", "unregister-node"} & set(FLEET_METHODS)
    assert text.count("$request_method != POST") == len(FLEET_METHODS)
    assert "return 401" not in text and "return 403" not in text


def test_the_proxy_knows_whom_it_speaks_to(tmp_path: Path) -> None:
    """Whoever takes Flower's port on loopback for a moment must not get the sites' messages."""
    home = ServerHome(tmp_path)
    text = nginx_config(home, ServerSettings(federation="ours", host="x.example"))
    for line in (
        "proxy_ssl_verify on;",
        "proxy_ssl_name localhost;",
        f'proxy_ssl_trusted_certificate "{home.authority}";',
        "ssl_protocols TLSv1.2 TLSv1.3;",
        "listen 0.0.0.0:9443 ssl;",
        "server 127.0.0.1:9460;",
    ):
        assert line in text


@pytest.mark.parametrize(
    "change", [{"listen": "x; }"}, {"host": "a b"}, {"port": 0}, {"inner_port": 80}, {"port": "1"}]
)
def test_settings_cannot_write_into_the_proxys(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        ServerSettings.model_validate({"federation": "ours", "host": "localhost"} | change)
