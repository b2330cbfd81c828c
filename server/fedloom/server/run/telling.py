"""A round in one line."""

from fedloom.server.run.journal import RoundEntry
from fedloom.shared.printable import printable
from fedloom.shared.words import count


def round_told(entry: RoundEntry) -> str:
    """Who counted, what the sites have spent at most, and who is missing, with the reason."""
    spent = [site.epsilon_spent for site in entry.sites if site.epsilon_spent is not None]
    privacy = f", epsilon so far at most {max(spent):.2f}" if spent else ""
    faults = [f"{site.site}: {site.fault}" for site in entry.sites if site.fault]
    missing = f" ({printable('; '.join(faults))})" if faults else ""
    sites = count(len(entry.sites), "site")
    return f"round {entry.round}: {entry.accepted} of {sites}{privacy}{missing}"
