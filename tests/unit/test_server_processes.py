"""What a server starts: secrets in files alone, loopback alone, and room for what each writes."""

from pathlib import Path

import pytest

from fedloom.server.deploy import processes as module
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.processes import server_processes, write_process_files
from fedloom.shared.errors import ConfigError, DeployError
from fedloom.shared.supervising import Process
from tests.support.kits import provisioned


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerHome:
    monkeypatch.setattr(module.shutil, "which", lambda *_, **__: "/usr/sbin/nginx")
    return provisioned(tmp_path).home


def by_name(home: ServerHome) -> dict[str, Process]:
    return {process.name: process for process in server_processes(home)}


def test_no_secret_is_on_a_command_line_or_in_an_environment(home: ServerHome) -> None:
    """Every user of the machine can read both."""
    secrets = [path.read_text().strip() for path in (home.control_token, home.superexec_secret)]
    for process in server_processes(home):
        said = " ".join([*process.command, *process.whole_environment.values()])
        assert not [secret for secret in secrets if secret in said]


def test_what_a_role_writes_to_it_may_write_to(home: ServerHome) -> None:
    """Under systemd all else is read-only; the ServerApp has its log beside the others."""
    found = by_name(home)
    assert {home.runs, home.logs, home.flower} <= set(found["superexec"].writes)
    assert {home.logs, home.proxy} <= set(found["proxy"].writes)
    assert home.runs in found["keeper"].writes
    # Who speaks to sites has no way to the runs.
    assert home.runs not in {*found["superlink"].writes, *found["proxy"].writes}
    for process in found.values():
        assert home.path not in process.writes, "keys and settings are read"


def test_flowers_server_is_behind_the_proxy_with_nodes_and_tasks_known(home: ServerHome) -> None:
    command = by_name(home)["superlink"].command
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert {"--enable-supernode-auth", "--superexec-auth-secret-file"} <= set(command)
    assert "--insecure" not in command
    assert "--disable-runtime-dependency-installation" in command
    hub = by_name(home)["superlink"].environment["FLWR_SUPERGRID_API_URL"]
    assert hub == "http://127.0.0.1:9462/v1"


def test_folders_are_the_owners_and_made_again_without_harm(home: ServerHome) -> None:
    for _ in range(2):
        write_process_files(home)
        for folder in (home.flower, home.logs, home.runs, home.proxy):
            assert folder.stat().st_mode & 0o777 == 0o700


def test_what_is_missing_is_told(home: ServerHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda *_, **__: None)
    with pytest.raises(DeployError, match="nginx: not installed"):
        server_processes(home)
    home.settings_file.unlink()
    with pytest.raises(ConfigError, match="expected a server's folder"):
        server_processes(home)
