"""The site's key: its owner's alone, and locked where a passphrase is set."""

from pathlib import Path

import pytest

from fedloom.client.site.config import KeySettings, SiteConfig
from fedloom.client.site.opening import ledger_of
from fedloom.shared.errors import ConfigError, CredentialError
from fedloom.shared.keys import SigningKey, read_key
from fedloom.shared.signing import is_signed
from tests.support.sites import a_site_config, begin

DIGEST = "ab" * 32


@pytest.fixture
def locked(tmp_path: Path) -> SiteConfig:
    """A site whose key is encrypted."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_bytes(b"correct horse\n")
    passphrase.chmod(0o600)
    config = a_site_config(tmp_path, key=KeySettings(passphrase_file=passphrase))
    begin(config)
    return config


def test_a_locked_key_signs_with_its_passphrase_alone(locked: SiteConfig) -> None:
    path = locked.state / "site.key"
    assert b"ENCRYPTED" in path.read_bytes()
    signer = ledger_of(locked).signer()
    assert is_signed(DIGEST, signer.sign(DIGEST), signer.public)
    with pytest.raises(CredentialError, match="no passphrase was given"):
        read_key(path)
    with pytest.raises(CredentialError, match="expected the key's passphrase"):
        read_key(path, b"wrong horse")


def test_an_open_key_refuses_a_passphrase(tmp_path: Path) -> None:
    """Who believes that the key is locked must be told that it is not."""
    SigningKey.generate().keep(tmp_path / "site.key")
    with pytest.raises(CredentialError, match="not encrypted"):
        read_key(tmp_path / "site.key", b"correct horse")


def test_others_can_read_neither_key_nor_passphrase(locked: SiteConfig) -> None:
    assert locked.key.passphrase_file is not None
    locked.key.passphrase_file.chmod(0o640)
    with pytest.raises(CredentialError, match="mode 640, expected 600"):
        ledger_of(locked)
    locked.key.passphrase_file.chmod(0o600)
    (locked.state / "site.key").chmod(0o604)
    with pytest.raises(CredentialError, match="mode 604, expected 600"):
        ledger_of(locked).signer()


def test_a_missing_passphrase_file_is_named(locked: SiteConfig) -> None:
    assert locked.key.passphrase_file is not None
    locked.key.passphrase_file.unlink()
    with pytest.raises(ConfigError, match="expected the passphrase of the site's key"):
        ledger_of(locked)
