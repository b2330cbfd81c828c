"""What lies in a site's state folder, opened with what its settings say of its key."""

from fedloom.client.ledger.ledger import Ledger
from fedloom.client.site.approvals import Approvals
from fedloom.client.site.config import SiteConfig
from fedloom.shared.errors import ConfigError
from fedloom.shared.files import check_owner_only


def ledger_of(config: SiteConfig) -> Ledger:
    """The ledger in the site's state folder.

    Raises:
        ConfigError: the passphrase's file is missing.
        LedgerError: others can read it.
    """
    return Ledger(config.state, _passphrase(config))


def _passphrase(config: SiteConfig) -> bytes | None:
    path = config.key.passphrase_file
    if path is None:
        return None
    if not path.is_file():
        raise ConfigError(str(path), ["no such file, expected the passphrase of the site's key"])
    check_owner_only(path)
    return path.read_bytes().strip()


def approvals_of(config: SiteConfig) -> Approvals:
    """The plans that wait for the site's steward, or were approved."""
    return Approvals(config.state / "approvals", config.name)
