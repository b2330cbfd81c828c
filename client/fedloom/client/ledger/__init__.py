"""The site's memory of privacy spent: signed, chained, append-only, verifiable by others."""
