"""A site joins once, with its own kit alone, and a power cut or a comment changes nothing."""

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedloom.cli.main import cli
from fedloom.client.deploy.joining import Joining
from fedloom.client.deploy.link_folder import LinkFolder
from fedloom.client.deploy.processes import site_processes
from fedloom.client.site.commented import commented
from fedloom.client.site.config import KeySettings, read_site_config
from fedloom.client.site.notes import SITE_NOTES, SITE_OPENING
from fedloom.client.site.opening import link_of
from fedloom.shared.errors import ConfigError, CredentialError, FedLoomError
from fedloom.shared.keys import SigningKey, read_key
from fedloom.shared.kits.document import PrivateKeys, SignedKit
from fedloom.shared.kits.node_key import NodeKey, read_node_key
from fedloom.shared.kits.sealing import seal
from tests.support.kits import (
    PowerCut,
    a_kit,
    a_new_site,
    a_signed_kit,
    everything_in,
    own_request,
    power_cut_at,
    provisioned,
    quick,
)

__all__ = ["quick"]
pytestmark = pytest.mark.usefixtures("quick")


def with_request(tmp_path: Path) -> tuple[Path, Path]:
    """A site that asked, and the kit that answers it."""
    site = a_new_site(tmp_path / "north")
    request = Joining(site).request()
    return site, provisioned(tmp_path / "kits").make("north", request).kit


def with_passphrase(tmp_path: Path, **changes: object) -> tuple[Path, Path, str]:
    site = a_new_site(tmp_path / "north", **changes)
    made = provisioned(tmp_path / "kits").make("north", None)
    assert made.passphrase is not None
    return site, made.kit, made.passphrase.read_text()


def join(site: Path, kit: Path, words: str | None = None) -> None:
    joining = Joining(site)
    joining.join(joining.read(kit), words)


def assert_joined(site: Path, kit: Path) -> None:
    """Keys, files and settings are the kit's, and the site can come up."""
    signed, link = a_signed_kit(kit), LinkFolder.of(site)
    config = read_site_config(site)
    assert link.kit() == signed.kit
    assert config.coordinator.public_key == signed.kit.coordinator
    found = link_of(config)
    assert found is not None and found.key.public == signed.kit.keys.link
    assert read_node_key(link.node_key).public == signed.kit.keys.node
    assert link.authority.read_text() == signed.kit.authority
    assert len(site_processes(site)) == 3


def test_with_its_own_request_and_twice_is_once(tmp_path: Path) -> None:
    site, kit = with_request(tmp_path)
    join(site, kit)
    assert_joined(site, kit)
    before = everything_in(tmp_path / "north")
    join(site, kit)
    joining = Joining(site)
    for _ in range(2):
        joining.join(joining.read(kit), None)
    assert everything_in(tmp_path / "north") == before
    assert Joining(site).request().keys == a_signed_kit(kit).kit.keys, "asking again is the same"


def test_with_a_passphrase_and_afterwards_without(tmp_path: Path) -> None:
    site, kit, words = with_passphrase(tmp_path)
    for wrong in (None, "wrong"):
        with pytest.raises(CredentialError, match="passphrase"):
            join(site, kit, wrong)
    assert not LinkFolder.of(site).node_key.exists()
    join(site, kit, words)
    join(site, kit)
    assert_joined(site, kit)


def asked_to_join(site: Path, kit: Path, *more: str) -> Result:
    return CliRunner().invoke(cli, ["site", "join", str(site), str(kit), *more])


def test_the_coordinators_key_is_compared_by_a_person_or_by_the_command(tmp_path: Path) -> None:
    site, kit = with_request(tmp_path)
    key, before = a_signed_kit(kit).kit.coordinator, everything_in(tmp_path / "north")
    unasked = asked_to_join(site, kit)
    assert unasked.exit_code == 1 and "not joined" in unasked.output
    assert "without a terminal, --coordinator-key KEY compares by itself" in unasked.stderr
    for wrong in (key[:12], "0" * 64, ""):
        found = asked_to_join(site, kit, "--yes", "--coordinator-key", wrong).exception
        assert isinstance(found, CredentialError) and "as was told; not joined" in str(found)
    assert everything_in(tmp_path / "north") == before
    assert asked_to_join(site, kit, "--coordinator-key", f" {key.upper()}").exit_code == 0
    assert_joined(site, kit)


def test_a_kit_that_does_not_open_is_told_before_anybody_is_asked(tmp_path: Path) -> None:
    site, kit, _ = with_passphrase(tmp_path)
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    wrong.chmod(0o600)
    for more in ((), ("--passphrase-file", str(wrong))):
        said = asked_to_join(site, kit, *more)
        assert isinstance(said.exception, CredentialError) and "passphrase" in str(said.exception)
        assert said.output == ""


def test_private_files_are_the_owners_alone(tmp_path: Path) -> None:
    site, kit, words = with_passphrase(tmp_path)
    site.chmod(0o600)
    join(site, kit, words)
    link = LinkFolder.of(site)
    for path in (*link.private, site.parent / "state" / "link.key", site):
        assert path.stat().st_mode & 0o777 == 0o600
    for folder in (link.path, link.flower, link.logs):
        assert folder.stat().st_mode & 0o777 == 0o700
    for path in (link.kit_file, link.authority, link.trusted):
        assert b"PRIVATE" not in path.read_bytes()


def test_the_sites_own_passphrase_locks_the_key_for_answers(tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_bytes(b"correct horse\n")
    passphrase.chmod(0o600)
    key = KeySettings(passphrase_file=passphrase)
    site, kit, words = with_passphrase(tmp_path, key=key)
    join(site, kit, words)
    assert_joined(site, kit)
    with pytest.raises(CredentialError, match="no passphrase was given"):
        read_key(site.parent / "state" / "link.key")
    join(site, kit)


def test_anothers_kit_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    site, kit = with_request(tmp_path)
    south = provisioned(tmp_path / "kits").make("south", None)
    stranger = provisioned(tmp_path / "other").make("north", own_request()[2]).kit
    sealed = provisioned(tmp_path / "third").make("north", None)
    before = everything_in(tmp_path / "north")
    assert south.passphrase is not None and sealed.passphrase is not None
    for one, words, why in (
        (south.kit, south.passphrase.read_text(), "the kit of site south"),
        (stranger, None, "for other keys than this site's"),
        (sealed.kit, sealed.passphrase.read_text(), "for other keys than this site's"),
    ):
        with pytest.raises(CredentialError, match=why):
            join(site, one, words)
        assert everything_in(tmp_path / "north") == before
    join(site, kit)
    with pytest.raises(CredentialError, match="of coordinator"):
        Joining(site).read(stranger)


def test_a_site_without_keys_is_told_where_they_are(tmp_path: Path) -> None:
    _, kit = with_request(tmp_path)
    other = a_new_site(tmp_path / "elsewhere")
    with pytest.raises(CredentialError, match="expected the folder that"):
        join(other, kit)


def test_sealed_keys_that_are_not_the_kits_are_not_kept(tmp_path: Path) -> None:
    """Else the right kit would be refused afterwards, as for other keys than this site's."""
    coordinator = SigningKey.generate()
    site, kit = a_new_site(tmp_path / "north"), a_kit(coordinator)
    private = PrivateKeys(
        link=SigningKey.generate().to_pem().decode(), node=NodeKey.generate().to_openssh().decode()
    )
    for content in (private.model_dump_json().encode(), b"{}", b"\xff"):
        sealed = seal(content, "words", bound=kit.bound)
        signed = SignedKit.by(kit.model_copy(update={"sealed": sealed}), coordinator)
        with pytest.raises(CredentialError):
            Joining(site).join(signed, "words")
        assert not LinkFolder.of(site).node_key.exists()
        assert not (site.parent / "state" / "link.key").exists()


def test_a_lost_key_for_answers_is_told_and_not_replaced(tmp_path: Path) -> None:
    site, kit = with_request(tmp_path)
    join(site, kit)
    (site.parent / "state" / "link.key").unlink()
    before = LinkFolder.of(site).node_key.read_bytes()
    with pytest.raises(CredentialError, match=r"link\.key: no such file"):
        Joining(site).request()
    assert LinkFolder.of(site).node_key.read_bytes() == before


@pytest.mark.parametrize("how", ["request", "passphrase"])
def test_a_power_cut_at_any_write_leaves_nothing_half_used(tmp_path: Path, how: str) -> None:
    for number in range(1, 20):
        folder = tmp_path / str(number)
        site, keys = a_new_site(folder / "north"), provisioned(folder / "kits")
        made = None if how == "request" else keys.make("north", None)
        words = None if made is None or made.passphrase is None else made.passphrase.read_text()
        try:
            with power_cut_at(number):
                made = made or keys.make("north", Joining(site).request())
                join(site, made.kit, words)
            break
        except PowerCut:
            with pytest.raises(FedLoomError):
                site_processes(site)
        if "north" not in keys.home.sites():
            made = keys.make("north", Joining(site).request())
        join(site, folder / "kits" / "north.kit", words)
        assert_joined(site, folder / "kits" / "north.kit")
    assert number > 6


def without_ends(site: Path) -> str:
    """The settings without the sections that a test then writes in its own way."""
    return site.read_text().partition("[coordinator]")[0].rstrip() + "\n"


def test_settings_as_site_init_writes_them_keep_their_notes(tmp_path: Path) -> None:
    site, kit = with_request(tmp_path)
    text = commented(read_site_config(site), SITE_NOTES, opening=SITE_OPENING)
    site.write_text(text)
    join(site, kit)
    assert_joined(site, kit)
    line = f'public_key = "{a_signed_kit(kit).kit.coordinator}"'
    example = '# public_key = "64 hex digits"'
    assert text.count(example) == 1
    assert site.read_text() == text.replace(example, line), "below its explanation"


@pytest.mark.parametrize(
    "more",
    [
        "",
        "\n# the last line",
        "\n[coordinator]\n",
        "\n[coordinator]\n# Who may ask.\n# public_key = \"0000\"\n\n[node]\nport = 9000\n",
        "\n[coordinator] # who may ask\n[node]\nport = 9000\n",
        "\n  [ coordinator ]\t\n",
        "\n[node]\nport = 9000\n# [coordinator]\n",
        "\n[coordinator]\r\n[node]\r\nport = 9000\r\n",
        "\n[coordinator]\r\n# public_key = \"0000\"\r\n[node]\r\nport = 9000\r\n",
        "\n[coordinator]\n[node]\nport = 9000\n# public_key = \"an example elsewhere\"\n",
    ],
)  # fmt: skip
def test_the_coordinators_key_is_named_and_all_else_stays(tmp_path: Path, more: str) -> None:
    site, kit = with_request(tmp_path)
    site.write_bytes((without_ends(site) + more).encode())
    before = tomllib.loads(site.read_text())
    # An example of the key makes way for the key itself.
    comments = more.count("#") - more.count('# public_key = "0000"')
    join(site, kit)
    after = tomllib.loads(site.read_text())
    assert after.pop("coordinator") == {"public_key": a_signed_kit(kit).kit.coordinator}
    before.pop("coordinator", None)
    assert after == before
    assert site.read_text().count("#") >= comments
    assert_joined(site, kit)


@pytest.mark.parametrize("more", ["coordinator = {}\n", 'x = """\n[coordinator]\n"""\n'])
def test_settings_without_a_place_for_the_key_are_told_before_anything_is_written(
    tmp_path: Path, more: str
) -> None:
    site, kit = with_request(tmp_path)
    joining = Joining(site)
    signed = joining.read(kit)
    site.write_text(more + without_ends(site))
    before = everything_in(tmp_path / "north")
    with pytest.raises(ConfigError, match="no place for the coordinator's key"):
        joining.join(signed, None)
    assert everything_in(tmp_path / "north") == before
