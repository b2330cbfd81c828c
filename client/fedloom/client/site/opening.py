"""What lies in a site's state folder, opened with what its settings say of its key."""

from fedloom.client.ledger.ledger import Ledger
from fedloom.client.site.approvals import Approvals
from fedloom.client.site.config import SiteConfig
from fedloom.client.site.link import LINK_KEY, Link
from fedloom.shared.errors import ConfigError, CredentialError
from fedloom.shared.files import check_owner_only
from fedloom.shared.keys import read_key


def ledger_of(config: SiteConfig) -> Ledger:
    """The ledger in the site's state folder.

    Raises:
        ConfigError: the passphrase's file is missing.
        CredentialError: others can read it.
    """
    return Ledger(config.state, passphrase_of(config))


def passphrase_of(config: SiteConfig) -> bytes | None:
    """The passphrase of the site's keys, if they have one.

    Raises:
        ConfigError: its file is missing.
        CredentialError: others can read it.
    """
    path = config.key.passphrase_file
    if path is None:
        return None
    if not path.is_file():
        raise ConfigError(str(path), ["no such file, expected the passphrase of the site's key"])
    check_owner_only(path)
    return path.read_bytes().strip()


def link_of(config: SiteConfig) -> Link | None:
    """The line to the coordinator that the settings name; none where they name none.

    Raises:
        ConfigError: the passphrase's file is missing.
        CredentialError: the site's key for answers is lost, locked, or readable by others; or
            it is there, and the settings name no coordinator.
    """
    if config.coordinator.public_key is None:
        # A file that an editor is just writing must not let everybody ask.
        if (config.state / LINK_KEY).exists():
            raise CredentialError(
                f"{config.state / LINK_KEY}: this site has joined, expected coordinator.public_key "
                "in its site.toml"
            )
        return None
    key = read_key(config.state / LINK_KEY, passphrase_of(config))
    return Link(coordinator=config.coordinator.public_key, key=key)


def approvals_of(config: SiteConfig) -> Approvals:
    """The plans that wait for the site's steward, or were approved."""
    return Approvals(config.state / "approvals", config.name)
