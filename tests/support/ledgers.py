"""Ledgers to begin with, and a site's sealed updates read past the product's own code."""

import json
import sqlite3
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedloom.client.ledger.ledger import Ledger


def sealed_updates(state: Path) -> dict[int, NDArray[np.float64]]:
    """What the site sealed, by round."""
    connection = sqlite3.connect(state / "ledger.sqlite")
    rows = connection.execute("SELECT header, payload FROM sealed").fetchall()
    connection.close()
    return {
        json.loads(header)["round"]: np.frombuffer(payload, dtype="<f4").astype(np.float64)
        for header, payload in rows
    }


def begun(folder: Path, *, site: str = "north") -> Ledger:
    """A new ledger, as a site begins it."""
    ledger = Ledger(folder)
    with ledger.held(site=site):
        return ledger
