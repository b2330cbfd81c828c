"""One service for one dataset: by locks that end with the process that holds them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fedloom.client.rpc.address import Address, read_address
from fedloom.client.site.config import SiteConfig, read_site_config
from fedloom.client.site.directory import SiteDirectory
from fedloom.client.site.opening import ledger_of
from fedloom.shared.errors import ConfigError, LedgerError


@contextmanager
def sole_service(config: SiteConfig) -> Iterator[None]:
    """Hold the site's state folder and its records' file against other services.

    Raises:
        ConfigError: another service holds either; or there are no records.
        LedgerError: there is no ledger.
    """
    if not config.source.path.is_file():
        raise ConfigError(str(config.source.path), ["no such file, expected the site's records"])
    if not ledger_of(config).exists:
        # To make the folder would be in the way of its copy.
        raise LedgerError(
            f"{config.state}: no ledger's key, expected what fedloom site init began; if this "
            "site trained before, put the newest copy of the folder back"
        )
    with ExitStack() as held:
        flags = os.O_RDWR | os.O_CREAT
        held.enter_context(_locked(config.state / "serving.lock", flags))
        # Two state folders over one file would each spend the whole budget.
        held.enter_context(_locked(config.source.path, os.O_RDONLY))
        yield


@contextmanager
def _locked(path: Path, flags: int) -> Iterator[None]:
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConfigError(
            str(path), ["another trainer service runs on it (fedloom site status), expected one"]
        ) from error
    finally:
        os.close(descriptor)


@contextmanager
def ready_to_serve(settings: Path, directory: SiteDirectory) -> Iterator[Address]:
    """Everything that a service needs, looked at before it listens; the address it listens on.

    Raises:
        ConfigError: settings, policy or address are wrong, or another service is there.
        LedgerError: the ledger is lost or not whole.
        ModelError: there is no base model.
    """
    config = read_site_config(settings)
    address = read_address(config.service.address, config.service.tls, side="service")
    with sole_service(config):
        service = directory.service(settings)
        service.budget()
        directory.trainers.fingerprint(config.model)
        yield address
