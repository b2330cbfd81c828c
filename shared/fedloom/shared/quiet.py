"""What the libraries below say about themselves, which a user cannot act on."""

import logging
import warnings


def quiet_libraries() -> None:
    """Silence their warnings in this process; before they are imported, since some warn then."""
    warnings.simplefilter("ignore")
    # It asks for a package that would load code from the hub.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
