"""Kits are made once, hold nothing of another's, and survive a power cut at any write."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fedloom.cli.main import cli
from fedloom.client.deploy.joining import Joining
from fedloom.server.deploy.provisioning import Provisioner
from fedloom.server.deploy.settings import ServerSettings
from fedloom.shared.errors import ConfigError, CredentialError
from fedloom.shared.kits.document import PartyKeys, SiteRequest
from tests.support.deployed import declare_units
from tests.support.kits import (
    SETTINGS,
    PowerCut,
    a_new_site,
    a_signed_kit,
    everything_in,
    own_request,
    power_cut_at,
    provisioned,
    quick,
)
from tests.support.tiny import write_federation

__all__ = ["quick"]
pytestmark = pytest.mark.usefixtures("quick")


def _secret(path: Path) -> bool:
    return path.is_file() and path.suffix != ".pem"


def test_nothing_private_of_another_is_in_a_sites_kit(tmp_path: Path) -> None:
    found = provisioned(tmp_path / "kits")
    kits = [found.make(name, None).kit for name in ("north", "south")]
    kits.append(found.make("east", own_request("east")[2]).kit)
    folder = found.home.path
    secrets = [path.read_bytes().strip() for path in folder.rglob("*") if _secret(path)]
    secrets += [(tmp_path / "kits/authority/ca.key").read_bytes()]
    secrets += [path.read_bytes().strip() for path in (tmp_path / "kits").glob("*.passphrase")]
    for path in (folder / "server.key", tmp_path / "kits/authority/ca.key"):
        key = load_pem_private_key(path.read_bytes(), None)
        secrets.append(f"{key.private_numbers().private_value:x}".encode())  # type: ignore[union-attr]
    raw = load_pem_private_key(found.home.coordinator_key.read_bytes(), None)
    secrets.append(raw.private_bytes_raw().hex().encode())  # type: ignore[union-attr]
    for kit in kits:
        content = kit.read_bytes()
        for secret in secrets:
            assert secret not in content
            assert secret.splitlines()[1:2] == [] or secret.splitlines()[1] not in content
        assert b"PRIVATE" not in content


def test_what_is_private_is_the_owners_alone(tmp_path: Path) -> None:
    found = provisioned(tmp_path / "kits")
    found.make("north", None)
    private = {"ca.key", "server.key", "coordinator.key", "superexec.secret", "control.token"}
    private.add("north.passphrase")
    for path in (tmp_path / "kits").rglob("*"):
        mode = path.stat().st_mode & 0o777
        assert mode == 0o700 if path.is_dir() else mode == 0o600 or path.name not in private
        private.discard(path.name)
    assert not private
    assert (tmp_path / "kits").stat().st_mode & 0o777 == 0o700


def test_a_name_and_its_keys_are_given_once(tmp_path: Path) -> None:
    found = provisioned(tmp_path)
    _, _, request = own_request()
    found.make("north", request)
    kit = (tmp_path / "north.kit").read_bytes()
    for again in (None, request, own_request()[2]):
        with pytest.raises(CredentialError, match="has a kit already"):
            found.make("north", again)
    assert (tmp_path / "north.kit").read_bytes() == kit
    link, node, _ = own_request()
    for keys in (
        (own_request()[0], node),
        (link, own_request()[1]),
    ):
        found.make(f"s{id(keys)}", SiteRequest.by(f"s{id(keys)}", *keys))
    with pytest.raises(CredentialError, match="another site's"):
        found.make("south", SiteRequest.by("south", link, node))


def test_removed_keys_never_come_back_and_the_name_may(tmp_path: Path) -> None:
    """Flower's server never takes them again: the site would wait for ever to be let in."""
    found = provisioned(tmp_path)
    _, _, request = own_request()
    found.make("north", request)
    found.remove("north")
    assert not (tmp_path / "north.kit").exists()
    with pytest.raises(CredentialError, match="a removed one's"):
        found.make("north", request)
    found.make("north", own_request()[2])
    with pytest.raises(CredentialError, match="no site south"):
        found.remove("south")


def test_the_folder_stays_with_its_federation_and_address(tmp_path: Path) -> None:
    found = provisioned(tmp_path)
    before = everything_in(tmp_path)
    found.begin(SETTINGS)
    for changes in ({"federation": "x"}, {"host": "x.example"}, {"port": 1}):
        with pytest.raises(CredentialError, match="expected the same federation and address"):
            found.begin(SETTINGS.model_copy(update=changes))
    assert everything_in(tmp_path) == before


def test_a_lost_settings_file_makes_no_new_authority(tmp_path: Path) -> None:
    """Each site that has a kit would be turned away by it."""
    found = provisioned(tmp_path)
    found.make("north", None)
    found.home.settings_file.unlink()
    before = everything_in(tmp_path)
    with pytest.raises(CredentialError, match="lost"):
        found.begin(SETTINGS)
    assert everything_in(tmp_path) == before


def test_a_renewal_keeps_authority_and_kits_and_needs_the_right_key(tmp_path: Path) -> None:
    found, other = provisioned(tmp_path / "a"), provisioned(tmp_path / "b")
    before = everything_in(tmp_path / "a")
    found.renew_server()
    after = everything_in(tmp_path / "a")
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"server/server.pem", "server/server.key"}
    key = tmp_path / "a" / "authority" / "ca.key"
    key.write_bytes((tmp_path / "b" / "authority" / "ca.key").read_bytes())
    with pytest.raises(CredentialError, match="its key is another's"):
        found.renew_server()
    assert everything_in(tmp_path / "a")["server/server.pem"] == after["server/server.pem"]
    key.unlink()
    with pytest.raises(CredentialError, match=r"no ca\.key"):
        found.renew_server()
    assert other.home.settings() == SETTINGS


def test_a_power_cut_at_any_write_leaves_nothing_half_used(tmp_path: Path) -> None:
    """Doing it again works, and no name ever stands for two sets of keys."""
    for number in range(1, 30):
        folder = tmp_path / str(number)
        try:
            with power_cut_at(number):
                provisioned(folder).make("north", None)
            break
        except PowerCut:
            pass
        found = provisioned(folder)
        noted: dict[str, PartyKeys] = found.home.sites()
        if "north" not in noted:
            found.make("north", None)
        kit = a_signed_kit(folder / "north.kit").kit
        assert found.home.sites() == {"north": kit.keys}
        assert kit.coordinator == found.home.coordinator().public
        assert kit.authority == found.home.authority.read_text()
        site = a_new_site(folder / "site")
        words = (folder / "north.passphrase").read_text()
        Joining(site).join(Joining(site).read(folder / "north.kit"), words)
    assert number > 8


def test_no_passphrase_is_left_of_an_attempt_before(tmp_path: Path) -> None:
    found = provisioned(tmp_path)
    with pytest.raises(PowerCut), power_cut_at(3):
        found.make("north", None)
    assert (tmp_path / "north.passphrase").exists()
    assert found.make("north", own_request()[2]).passphrase is None
    assert not (tmp_path / "north.passphrase").exists()


@pytest.mark.parametrize(
    ("host", "port"),
    [("fed.example.org:9443", 1), ("a b", 1), ("höst", 1), ("-x", 1), (".x", 1), ("", 1),
     ("fe80::1%eth0", 1), ("x.example", 9462), ("[::1]:9443", 1), ("a..b", 1)],
)  # fmt: skip
def test_a_server_that_no_kit_could_name_is_refused_before_anything_is_made(
    host: str, port: int
) -> None:
    with pytest.raises(ConfigError):
        ServerSettings.of("ours", host=host, port=port)


@pytest.mark.parametrize("host", ["fed.example.org", "10.0.0.7", "2001:db8::7", "[2001:db8::7]"])
def test_each_server_that_is_taken_can_be_named_in_a_kit(tmp_path: Path, host: str) -> None:
    found = Provisioner(tmp_path)
    found.begin(ServerSettings.of("ours", host=host, port=443))
    assert a_signed_kit(found.make("north", None).kit).kit.server.endswith(":443")


def provision(tmp_path: Path, *words: str) -> str:
    federation = write_federation(tmp_path)
    command = ["provision", str(federation), "--out", str(tmp_path / "kits"), *words]
    found = CliRunner().invoke(cli, command)
    return found.output + str(found.exception or "")


def test_the_command_takes_a_name_twice_and_two_requests_of_one_name_not(tmp_path: Path) -> None:
    """Which of the two is the site, the coordinator must find out, not the order."""
    server = ("--server", "[::1]")
    said = provision(tmp_path, *server, "--site", "site0", "--site", "site0")
    assert "site0.kit  passphrase in" in said
    paths = []
    for number in range(2):
        path = tmp_path / f"{number}.request"
        path.write_text(own_request("site1")[2].model_dump_json())
        paths += ["--request", str(path)]
    assert "the second request of site1" in provision(tmp_path, *server, *paths)
    assert "site1.kit" in provision(tmp_path, *server, *paths[:2], *paths[:2])
    assert "no site elsewhere" in provision(tmp_path, *server, "--site", "elsewhere")
    assert "expected a host name" in provision(tmp_path, "--server", "x:1", "--site", "site2")


def test_a_folder_of_other_things_stays_as_it_is(tmp_path: Path) -> None:
    """Else `--out .` makes the current folder its owner's alone."""
    own = tmp_path / "own"
    own.mkdir(mode=0o755)
    provisioned(own)
    other = tmp_path / "other"
    other.mkdir(mode=0o755)
    other.chmod(0o755)
    (other / "federation.toml").touch()
    with pytest.raises(CredentialError, match=r"holds federation\.toml, expected a new folder"):
        provisioned(other)
    assert [path.name for path in other.iterdir()] == ["federation.toml"]
    assert other.stat().st_mode & 0o777 == 0o755


def test_the_command_tells_each_requests_key_to_be_compared(tmp_path: Path) -> None:
    request = own_request("site1")[2]
    path = tmp_path / "site1.request"
    path.write_text(request.model_dump_json())
    said = provision(tmp_path, "--server", "x", "--request", str(path), "--site", "site0")
    assert f"site1's joining key: {request.keys.link}\n" in said
    assert "Compare it by telephone" in said
    assert "site0's joining key" not in said
    assert "telephone" not in provision(tmp_path, "--server", "x", "--site", "site2")


def test_a_missing_size_is_told_with_the_kits_and_not_only_when_a_run_is_wanted(
    tmp_path: Path,
) -> None:
    said = provision(tmp_path, "--server", "x", "--site", "site0")
    assert said.splitlines()[-1].startswith(
        "note: data.sites site0, site1, site2: no declared_units, expected the public number"
    )
    declare_units(tmp_path / "federation.toml")
    arguments = ["--server", "x", "--site", "site1", "--out", str(tmp_path / "kits")]
    declared = CliRunner().invoke(cli, ["provision", str(tmp_path / "federation.toml"), *arguments])
    assert declared.exit_code == 0 and "note:" not in declared.output
