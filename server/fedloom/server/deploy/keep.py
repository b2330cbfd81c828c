"""`python -m fedloom.server.deploy.keep FOLDER`: the keeper's process.

It serves the signed bundle to Flower's server, metrics and a health service, all on loopback, and
looks after nodes and runs every other second.
"""

import logging
import signal
import sys
import threading
import time
from pathlib import Path

from fedloom.server.deploy.bundle import signed_bundle
from fedloom.server.deploy.control import flower_control
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.hub import serving_bundle
from fedloom.server.deploy.keeper import Keeper
from fedloom.server.deploy.metrics import ServerMetrics
from fedloom.server.deploy.rotating import rotating
from fedloom.shared.errors import DeployError, FedLoomError
from fedloom.shared.health import serving_health
from fedloom.shared.locks import hold
from fedloom.shared.logs import log_as_json
from fedloom.shared.scraping import serving_metrics

logger = logging.getLogger("fedloom.keeper")
_LOOK_SECONDS = 2.0


def keep(home: ServerHome, stopped: threading.Event) -> None:
    """Tend the server in `home` until `stopped`.

    Raises:
        ConfigError, CredentialError: settings or keys cannot be read.
        DeployError: another keeper tends it.
    """
    settings = home.settings()
    if not hold(home.keeper_lock):
        raise DeployError(f"{home.path}: another keeper tends it, expected one")
    bundle = signed_bundle(home.coordinator(), now=int(time.time()))
    with (
        serving_bundle(bundle, settings.hub_port),
        serving_health(settings.keeper_health_port) as health,
        serving_metrics(ServerMetrics(home), settings.metrics_port),
        rotating(home),
        flower_control(home) as control,
    ):
        keeper = Keeper(home, control, bundle.app)
        logger.info("keeps %s, bundle %s", settings.federation, bundle.app)
        while not stopped.is_set():
            health.set(serving=_look(keeper))
            stopped.wait(_LOOK_SECONDS)


def _look(keeper: Keeper) -> bool:
    try:
        keeper.tend()
    except DeployError as error:
        # While Flower's server starts, or starts again.
        logger.warning("%s", error)
        return False
    except (FedLoomError, OSError) as error:
        # A full disk or a damaged file: whoever mends it need not start this again.
        logger.error("%s", error)
        return False
    return True


def main() -> None:
    """Until a signal comes."""
    log_as_json()
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    keep(ServerHome(Path(sys.argv[1])), stopped)


if __name__ == "__main__":
    main()
