"""One service for one dataset: by locks that end with the process that holds them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedloom.client.rpc.address import Address, read_address
from fedloom.client.site.checks.machine import writable_settings
from fedloom.client.site.config import SiteConfig, read_site_config
from fedloom.client.site.desk import SiteDesk
from fedloom.client.site.directory import SiteDirectory
from fedloom.client.site.locks import SERVING_LOCK, LockedFile, locked
from fedloom.client.site.opening import ledger_of
from fedloom.shared.errors import ConfigError, LedgerError, SiteRefusal


@dataclass(frozen=True, kw_only=True)
class Held:
    """The files that make a dataset one service's own: the state folder's lock, the records."""

    files: Sequence[LockedFile]

    def check(self) -> None:
        """Make sure that what the paths name is still what is held.

        A lock stays with the file that it was put on. Once another file has its name, another
        service can have that one, and each would spend the whole budget.

        Raises:
            SiteRefusal: a file was replaced or is gone.
        """
        for file in self.files:
            if not file.is_still_there:
                asked = f"{file.path}, replaced since the service began"
                raise SiteRefusal("replaced", asked=asked, allowed="it as it was, or a restart")


@contextmanager
def sole_service(config: SiteConfig) -> Iterator[Held]:
    """Hold the site's state folder and its records' file against other services.

    Raises:
        ConfigError: another service holds either; or there are no records.
        LedgerError: there is no ledger.
        SiteRefusal: a file was replaced in this very moment.
    """
    if not config.source.path.is_file():
        raise ConfigError(str(config.source.path), ["no such file, expected the site's records"])
    if not ledger_of(config).exists:
        # To make the folder would be in the way of its copy.
        raise LedgerError(
            f"{config.state}: no ledger's key, expected what fedloom site init began; if this "
            "site trained before, put the newest copy of the folder back"
        )
    with ExitStack() as stack:
        flags = os.O_RDWR | os.O_CREAT
        own = stack.enter_context(locked(config.state / SERVING_LOCK, flags))
        # Two state folders over one file would each spend the whole budget.
        records = stack.enter_context(locked(config.source.path, os.O_RDONLY))
        held = Held(files=(own, records))
        held.check()
        yield held


@dataclass(frozen=True, kw_only=True)
class ReadyService:
    """What answers, where it listens, and what its steward should know."""

    desk: SiteDesk
    address: Address
    warnings: Sequence[str]


@contextmanager
def ready_to_serve(settings: Path) -> Iterator[ReadyService]:
    """Everything that a service needs, looked at before it listens.

    Raises:
        ConfigError: settings, policy or address are wrong, or every user of the machine may
            write what decides; or another service is there.
        LedgerError: the ledger is lost or not whole.
        ModelError: there is no base model.
    """
    config = read_site_config(settings)
    warnings = _not_open_to_all(settings, config)
    address = read_address(config.service.address, config.service.tls, side="service")
    with sole_service(config) as held:
        directory = SiteDirectory(held.check)
        directory.service(settings).budget()
        directory.trainers.fingerprint(config.model)
        yield ReadyService(desk=SiteDesk(settings, directory), address=address, warnings=warnings)


def _not_open_to_all(settings: Path, config: SiteConfig) -> Sequence[str]:
    found = list(writable_settings(settings, config))
    problems = [seen.text for seen in found if seen.level == "problem"]
    if problems:
        raise ConfigError(str(settings), problems)
    return [seen.text for seen in found]
