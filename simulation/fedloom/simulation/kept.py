"""Sites that outlast a run: which of them answered it from their ledgers alone."""

from collections.abc import Mapping
from pathlib import Path

from fedloom.client.ledger.ledger import Ledger
from fedloom.server.report.schema import Report
from fedloom.shared.errors import LedgerError


def ledger_lengths(sites: Path) -> Mapping[str, int]:
    """How many entries the ledger of each site in a folder holds; one that is not whole: none."""
    found = {}
    for settings in sorted(sites.glob("*/site.toml")):
        try:
            found[settings.parent.name] = len(Ledger(settings.with_name("state")).entries())
        except LedgerError:
            # The run tells that, as a fault of this site's.
            continue
    return found


def answered_from_ledgers(before: Mapping[str, int], sites: Path, report: Report) -> list[str]:
    """The sites that had answered all that a new run asked of them before it began."""
    now = ledger_lengths(sites)
    answered = {at.site for entry in report.rounds for at in entry.sites if at.fault is None}
    return [name for name in sorted(answered & set(before)) if now.get(name) == before[name]]
