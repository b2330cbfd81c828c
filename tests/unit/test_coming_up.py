"""What cannot come up is refused in a line, and not started again for ever behind an "is up"."""

import fcntl
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedloom.cli.main import cli
from fedloom.client.deploy.coming_up import check_can_come_up
from fedloom.client.deploy.link_folder import LinkFolder
from fedloom.client.deploy.processes import supervisor_folder
from fedloom.client.site.config import NodeSettings, ServiceSettings, read_site_config
from fedloom.server.deploy import processes
from fedloom.shared import foreground
from fedloom.shared.errors import ConfigError, DeployError
from fedloom.shared.supervising import SOCKET
from tests.support.deployed import change, free_ports
from tests.support.kits import a_joined_site, provisioned
from tests.support.served import short_folder

PARTS = (None, "trainer", "node")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreground, "_PATIENCE_SECONDS", 0.0)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    base = free_ports(4)
    # As site init --two-users puts the service.
    service = ServiceSettings(address=f"127.0.0.1:{base + 3}")
    return a_joined_site(tmp_path / "north", node=NodeSettings(port=base), service=service)


def refused(site: Path, only: str | None) -> str:
    try:
        check_can_come_up(site, supervisor_folder(site, only), only)
    except (ConfigError, DeployError) as error:
        return str(error)
    return ""


def test_a_site_in_order_can_come_up_whole_and_in_parts(site: Path) -> None:
    assert [refused(site, only) for only in PARTS] == ["", "", ""]


@pytest.mark.parametrize("bad", [None, "[budgett]\n"])
def test_a_policy_that_cannot_be_read_starts_no_trainer(site: Path, bad: str | None) -> None:
    """The node, from which it is hidden, does not ask for it."""
    policy = read_site_config(site).policy
    policy.unlink()
    if bad is not None:
        policy.write_text(bad)
    assert [str(policy) in refused(site, only) for only in PARTS] == [True, True, False]


@pytest.mark.parametrize(
    ("at", "parts", "words"),
    [
        (0, (True, False, True), "choose another node.port in site.toml"),
        (1, (True, False, True), "choose another node.port in site.toml"),
        (2, (True, True, False), "choose another node.port in site.toml"),
        (3, (True, True, False), "choose another service.address in site.toml"),
    ],
)
def test_a_port_that_is_taken_is_named(
    site: Path, at: int, parts: tuple[bool, ...], words: str
) -> None:
    port = read_site_config(site).node.port + at
    with socket.create_server(("127.0.0.1", port)):
        said = [refused(site, only) for only in PARTS]
    assert [bool(each) for each in said] == list(parts)
    assert all(f"{port} is taken" in each and words in each for each in said if each)


def test_a_second_start_is_told_that_there_is_a_first() -> None:
    with short_folder() as home, socket.socket(socket.AF_UNIX) as supervisor:
        site = a_joined_site(home / "north", node=NodeSettings(port=free_ports(4)))
        folder = supervisor_folder(site, None)
        supervisor.bind(str(folder / SOCKET))
        assert refused(site, None) == "", "what is left of one that was killed is no supervisor"
        supervisor.listen()
        assert refused(site, None) == f"north is up already (logs in {folder / 'logs'})"
        done = CliRunner().invoke(cli, ["site", "up", str(site)])
        assert "up already" in str(done.exception) and not (folder / "supervisord.conf").exists()


def test_processes_that_run_by_other_means_are_told(site: Path) -> None:
    config, link = read_site_config(site), LinkFolder.of(site)
    with ExitStack() as held:
        for path in (config.state / "serving.lock", link.node_lock):
            fcntl.flock(held.enter_context(path.open("wb")), fcntl.LOCK_EX)
        assert "another trainer service runs" in refused(site, "trainer")
        assert "another node runs" in refused(site, "node")
    assert [refused(site, only) for only in PARTS] == ["", "", ""]


def test_a_port_is_waited_for_while_its_holder_ends(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreground, "_PATIENCE_SECONDS", 5.0)
    held = socket.create_server(("127.0.0.1", read_site_config(site).node.port))
    monkeypatch.setattr(foreground.time, "sleep", lambda _: held.close())
    assert refused(site, None) == ""


def test_a_server_whose_ports_are_taken_is_told_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes.shutil, "which", lambda *_, **__: "/usr/sbin/nginx")
    home, base = provisioned(tmp_path / "kits").home, free_ports(6)
    change(home.settings_file, inner_port=base, port=base + 5, listen="127.0.0.1")
    for at, words in ((0, "another inner_port"), (4, "another inner_port"), (5, "for the sites")):
        with socket.create_server(("127.0.0.1", base + at)):
            done = CliRunner().invoke(cli, ["server", "up", str(home.path)])
        assert f"port {base + at} is taken" in str(done.exception)
        assert words in str(done.exception)
    assert processes.taken_ports(home) is None
