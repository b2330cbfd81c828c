"""A round in one line."""

from fedloom.server.run.journal import RoundEntry
from fedloom.shared.printable import printable


def round_told(entry: RoundEntry) -> str:
    """Who counted, what the sites have spent at most, and who is missing, with the reason."""
    spent = [site.epsilon_spent for site in entry.sites if site.epsilon_spent is not None]
    privacy = f", epsilon so far at most {max(spent):.2f}" if spent else ""
    faults = [f"{site.site}: {site.fault}" for site in entry.sites if site.fault]
    missing = f" ({printable('; '.join(faults))})" if faults else ""
    counted = f"{entry.accepted}/{len(entry.sites)} sites"
    return f"round {entry.round}: {counted}{privacy}{missing}"
