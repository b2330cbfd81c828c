"""What a server starts: secrets in files alone, loopback alone, and room for what each writes."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from fedloom.cli.commands.server_up import units
from fedloom.server.deploy import processes as module
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.processes import make_home, server_processes
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
    for path in (home.runs, home.logs, home.flower, home.heads.parent):
        assert path in found["superexec"].writes
    assert {home.logs, home.proxy} <= set(found["proxy"].writes)
    assert home.runs in found["keeper"].writes
    # Who speaks to sites has no way to the runs.
    assert home.runs not in {*found["superlink"].writes, *found["proxy"].writes}
    for process in found.values():
        assert home.path not in process.writes, "keys and settings are read"


def test_each_finds_no_key_and_no_folder_that_is_anothers(home: ServerHome) -> None:
    """The proxy alone is reached from outside; Flower's server holds what nodes send."""
    hidden = {name: set(process.hidden) for name, process in by_name(home).items()}
    everyones = {home.coordinator_key, home.runs, home.heads.parent}
    secrets = {home.control_token, home.superexec_secret}
    assert hidden["proxy"] == {*everyones, *secrets, home.flower}
    assert hidden["superlink"] == everyones
    assert hidden["superexec"] == {home.control_token, home.certificate_key}
    assert hidden["keeper"] == {home.superexec_secret, home.certificate_key}
    for process in server_processes(home):
        assert not set(process.hidden) & set(process.writes)
        assert not [path for path in process.hidden if str(path) in process.command]
    assert [p.name for p in server_processes(home) if not p.loopback] == ["proxy"]


def test_units_are_written_without_a_trace_in_the_servers_folder(
    home: ServerHome, tmp_path: Path
) -> None:
    """Root writes them, when the folder is the server's user's already."""
    before = {path: path.lstat().st_mtime_ns for path in home.path.rglob("*")}
    done = CliRunner().invoke(units, [str(home.path), "--out", str(tmp_path / "units")])
    assert done.exit_code == 0, done.output
    assert {path: path.lstat().st_mtime_ns for path in home.path.rglob("*")} == before
    # What the units' own users write to is there since provision.
    for process in server_processes(home):
        assert all(path.is_dir() for path in process.writes)


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
        make_home(home)
        for folder in (home.flower, home.logs, home.runs, home.proxy, home.heads.parent):
            assert folder.stat().st_mode & 0o777 == 0o700


def test_what_is_missing_is_told(home: ServerHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda *_, **__: None)
    with pytest.raises(DeployError, match="nginx: not installed"):
        server_processes(home)
    home.settings_file.unlink()
    with pytest.raises(
        ConfigError, match=r"expected a server's folder \(fedloom provision makes it"
    ):
        server_processes(home)
