"""What a site starts: the node is told of the service and the link, and of nothing behind them."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from flwr.common.config import parse_config_args

from fedloom.cli.commands.site_join import join, units, up
from fedloom.client.deploy.link_folder import LinkFolder
from fedloom.client.deploy.processes import site_processes, supervisor_folder
from fedloom.client.rpc.remote import SITE_SERVICE
from fedloom.client.site.config import (
    CacheSettings,
    ComputeSettings,
    KeySettings,
    NodeSettings,
    ServiceSettings,
    read_site_config,
)
from fedloom.shared import foreground
from fedloom.shared.errors import ConfigError, CredentialError
from fedloom.shared.keys import SigningKey
from fedloom.shared.kits.document import SignedKit
from fedloom.shared.supervising import Process
from tests.support.deployed import free_ports
from tests.support.kits import a_joined_site, a_kit, a_new_site, two_users


def by_name(site: Path) -> dict[str, Process]:
    return {process.name: process for process in site_processes(site)}


def test_the_node_is_given_no_path_to_records_policy_or_ledger(tmp_path: Path) -> None:
    site = a_joined_site(tmp_path / "north")
    config = read_site_config(site)
    for name in ("node", "relays"):
        process = by_name(site)[name]
        said = " ".join([*process.command, *process.environment.values()])
        for path in (config.source.path, config.policy, config.state, site):
            assert str(path) not in said
        assert {config.source.path, config.state} <= set(process.hidden)
        assert process.user != by_name(site)["trainer"].user
        assert not process.devices


def test_what_is_as_private_as_records_is_hidden_wherever_it_lies(tmp_path: Path) -> None:
    cache, words = tmp_path / "cache", tmp_path / "words"
    words.write_bytes(b"correct horse")
    words.chmod(0o600)
    site = a_joined_site(
        tmp_path / "north",
        cache=CacheSettings(folder=cache),
        key=KeySettings(passphrase_file=words),
        service=ServiceSettings(address=f"unix:{tmp_path}/run/s"),
    )
    found = by_name(site)
    assert {cache, words} <= set(found["node"].hidden)
    # And what the trainer needs beyond its own folder, it may write.
    assert {cache, tmp_path / "run", tmp_path / "north" / "state"} == set(found["trainer"].writes)


@pytest.mark.parametrize(("device", "reached"), [("auto", True), ("cuda", True), ("cpu", False)])
def test_a_trainer_reaches_its_gpu(tmp_path: Path, device: str, reached: bool) -> None:
    """Hidden from it, `auto` would train on the processor, and say nothing."""
    site = a_joined_site(tmp_path / "north", compute=ComputeSettings(device=device))
    assert by_name(site)["trainer"].devices == reached


@pytest.mark.parametrize("name", ["plain", "a b", 'a"b', "a\\b", "it's", "a=b #c, d"])
def test_flower_reads_the_services_address_as_it_is(tmp_path: Path, name: str) -> None:
    path = f"unix:/x/{name}/s"
    site = a_joined_site(tmp_path / "north", service=ServiceSettings(address=path))
    command = by_name(site)["node"].command
    found = parse_config_args([command[command.index("--node-config") + 1]])
    assert found == {SITE_SERVICE: path}


def test_a_site_that_has_not_joined_cannot_come_up(tmp_path: Path) -> None:
    site = a_new_site(tmp_path / "north")
    with pytest.raises(ConfigError, match="expected a site that joined"):
        site_processes(site)
    site = a_joined_site(tmp_path / "south")
    kit = LinkFolder.of(site).kit_file
    kit.write_text(kit.read_text().replace("fed.example.org", "evil.example.org"))
    with pytest.raises(CredentialError, match="signature does not fit"):
        site_processes(site)


def test_a_link_of_another_coordinator_starts_nothing(tmp_path: Path) -> None:
    """The link may be the node's user's, who could put a kit of its own there, whole and signed."""
    site, other = a_joined_site(tmp_path / "north"), a_joined_site(tmp_path / "other")
    link = LinkFolder.of(site)
    link.kit_file.write_bytes(LinkFolder.of(other).kit_file.read_bytes())
    with pytest.raises(
        CredentialError, match=r"kit\.json: of coordinator .* as coordinator\.public"
    ):
        site_processes(site)


def test_a_site_that_joined_without_a_certificate_for_its_node_is_told(tmp_path: Path) -> None:
    site = a_joined_site(tmp_path / "north")
    LinkFolder.of(site).runtime_authority.unlink()
    with pytest.raises(CredentialError, match="expected it from fedloom site join"):
        site_processes(site)


def test_whom_the_node_trusts_it_cannot_write(tmp_path: Path) -> None:
    site = a_joined_site(tmp_path / "north")
    link = LinkFolder.of(site)
    for name in ("node", "relays"):
        writes = by_name(site)[name].writes
        assert writes == [link.flower, link.logs]
        for path in (link.trusted, link.authority, link.kit_file, link.runtime_authority):
            assert not [folder for folder in writes if path.is_relative_to(folder)]
    for path in (link.node_number, link.node_lock):
        assert path.is_relative_to(link.flower)
    # A relay runs what a bundle names, and needs no key of the node's.
    assert {link.node_key, link.runtime_key} <= set(by_name(site)["relays"].hidden)


def test_only_the_node_speaks_to_other_machines(tmp_path: Path) -> None:
    found = by_name(a_joined_site(tmp_path / "north"))
    loopback = {name: process.loopback for name, process in found.items()}
    assert loopback == {"trainer": True, "node": False, "relays": True}


def test_units_are_written_without_a_trace_in_the_site(tmp_path: Path) -> None:
    """Root writes them, when the link is the node's user's already."""
    site = a_joined_site(tmp_path / "north", **two_users(tmp_path / "north"))
    before = {path: path.lstat().st_mtime_ns for path in site.parent.rglob("*")}
    done = CliRunner().invoke(units, [str(site), "--out", str(tmp_path / "units")])
    assert done.exit_code == 0, done.output
    assert {path: path.lstat().st_mtime_ns for path in site.parent.rglob("*")} == before
    assert len(list((tmp_path / "units").iterdir())) == 4


def test_no_units_are_written_for_a_service_that_the_node_cannot_reach(tmp_path: Path) -> None:
    """A socket is the trainer's user's alone: the node would ask for ever."""
    site = a_joined_site(tmp_path / "north")
    found = CliRunner().invoke(units, [str(site), "--out", str(tmp_path / "units")]).exception
    assert isinstance(found, ConfigError)
    words = "service.address is a socket that fedloom-node cannot open; begin the site with --two"
    assert f"{site}: {words}" in str(found)
    assert not (tmp_path / "units").exists()


@pytest.mark.parametrize("only", [None, "trainer", "node"])
def test_what_starts_a_trainer_does_not_lie_in_the_nodes_folder(
    tmp_path: Path, only: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, configs = a_joined_site(tmp_path / "north", node=NodeSettings(port=free_ports(4))), []
    monkeypatch.setattr(foreground, "become_supervisor", configs.append)
    done = CliRunner().invoke(up, [str(site), *([] if only is None else ["--only", only])])
    assert done.exit_code == 0, done.output
    assert "starting site north" in done.output and "is up" not in done.output
    own = LinkFolder.of(site).path if only == "node" else site.parent / "state" / "supervisor"
    assert configs == [own / "supervisord.conf"]
    assert supervisor_folder(site, only) == own
    assert (own / "logs").stat().st_mode & 0o777 == own.stat().st_mode & 0o777 == 0o700
    assert (LinkFolder.of(site).path / "supervisord.conf").exists() == (only == "node")


def test_a_passphrase_that_others_can_read_is_not_taken(tmp_path: Path) -> None:
    site, words = a_new_site(tmp_path / "north"), tmp_path / "words"
    coordinator = SigningKey.generate()
    kit = tmp_path / "kit"
    signed = SignedKit.by(a_kit(coordinator), coordinator)
    kit.write_text(signed.model_dump_json())
    words.write_text("correct horse")
    words.chmod(0o644)
    arguments = [str(site), str(kit), "--yes", "--passphrase-file", str(words)]
    found = CliRunner().invoke(join, arguments).exception
    assert isinstance(found, CredentialError) and "mode 644, expected 600" in str(found)
