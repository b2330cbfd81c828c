"""One service for one dataset: by locks that end with the process that holds them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fedloom.client.site.config import SiteConfig
from fedloom.shared.errors import ConfigError
from fedloom.shared.files import make_folder


@contextmanager
def sole_service(config: SiteConfig) -> Iterator[None]:
    """Hold the site's state folder and its records' file against other services.

    Raises:
        ConfigError: another service holds either; or there are no records.
    """
    if not config.source.path.is_file():
        raise ConfigError(str(config.source.path), ["no such file, expected the site's records"])
    make_folder(config.state)
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
        raise ConfigError(str(path), ["another trainer service serves it, expected one"]) from error
    finally:
        os.close(descriptor)
