"""What a site starts: the node is told of the service and the link, and of nothing behind them."""

from pathlib import Path

import pytest
from flwr.common.config import parse_config_args

from fedloom.client.deploy.joining import Joining
from fedloom.client.deploy.link_folder import LinkFolder
from fedloom.client.deploy.processes import site_processes, write_process_files
from fedloom.client.rpc.remote import SITE_SERVICE
from fedloom.client.site.config import (
    CacheSettings,
    ComputeSettings,
    KeySettings,
    ServiceSettings,
    read_site_config,
)
from fedloom.shared.errors import ConfigError, CredentialError
from fedloom.shared.keys import SigningKey
from fedloom.shared.kits.document import SignedKit
from fedloom.shared.supervising import Process
from tests.support.kits import a_kit, a_new_site


def joined(home: Path, **changes: object) -> Path:
    site, coordinator = a_new_site(home, **changes), SigningKey.generate()
    request = Joining(site).request()
    kit = SignedKit.by(a_kit(coordinator, keys=request.keys), coordinator)
    Joining(site).join(kit, None)
    return site


def by_name(site: Path) -> dict[str, Process]:
    return {process.name: process for process in site_processes(site)}


def test_the_node_is_given_no_path_to_records_policy_or_ledger(tmp_path: Path) -> None:
    site = joined(tmp_path / "north")
    config = read_site_config(site)
    for name in ("node", "relays"):
        process = by_name(site)[name]
        said = " ".join([*process.command, *process.environment.values()])
        for path in (config.source.path, config.policy, config.state, site):
            assert str(path) not in said
        assert process.writes == [LinkFolder.of(site).path]
        assert {config.source.path, config.state} <= set(process.hidden)
        assert process.user != by_name(site)["trainer"].user
        assert not process.devices


def test_what_is_as_private_as_records_is_hidden_wherever_it_lies(tmp_path: Path) -> None:
    cache, words = tmp_path / "cache", tmp_path / "words"
    words.write_bytes(b"correct horse")
    words.chmod(0o600)
    site = joined(
        tmp_path / "north",
        cache=CacheSettings(folder=cache),
        key=KeySettings(passphrase_file=words),
        service=ServiceSettings(address=f"unix:{tmp_path}/run/s"),
    )
    found = by_name(site)
    assert {cache, words} <= set(found["node"].hidden)
    # And what the trainer needs beyond its own folder, it may write.
    assert {cache, tmp_path / "run", tmp_path / "north" / "state"} <= set(found["trainer"].writes)


@pytest.mark.parametrize(("device", "reached"), [("auto", True), ("cuda", True), ("cpu", False)])
def test_a_trainer_reaches_its_gpu(tmp_path: Path, device: str, reached: bool) -> None:
    """Hidden from it, `auto` would train on the processor, and say nothing."""
    site = joined(tmp_path / "north", compute=ComputeSettings(device=device))
    assert by_name(site)["trainer"].devices == reached


@pytest.mark.parametrize("name", ["plain", "a b", 'a"b', "a\\b", "it's", "a=b #c, d"])
def test_flower_reads_the_services_address_as_it_is(tmp_path: Path, name: str) -> None:
    path = f"unix:/x/{name}/s"
    site = joined(tmp_path / "north", service=ServiceSettings(address=path))
    command = by_name(site)["node"].command
    found = parse_config_args([command[command.index("--node-config") + 1]])
    assert found == {SITE_SERVICE: path}


def test_a_site_that_has_not_joined_cannot_come_up(tmp_path: Path) -> None:
    site = a_new_site(tmp_path / "north")
    with pytest.raises(ConfigError, match="expected a site that joined"):
        site_processes(site)
    site = joined(tmp_path / "south")
    kit = LinkFolder.of(site).kit_file
    kit.write_text(kit.read_text().replace("fed.example.org", "evil.example.org"))
    with pytest.raises(CredentialError, match="signature does not fit"):
        site_processes(site)


def test_the_secret_between_node_and_relays_is_made_once(tmp_path: Path) -> None:
    site = joined(tmp_path / "north")
    assert write_process_files(site) == LinkFolder.of(site).logs
    secret = LinkFolder.of(site).node_secret
    before = secret.read_bytes()
    write_process_files(site)
    assert secret.read_bytes() == before and len(before) == 64
    assert secret.stat().st_mode & 0o777 == 0o600
