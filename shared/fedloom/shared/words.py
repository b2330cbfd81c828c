"""Numbers among words, for people."""


def count(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its word: `1 row`, `2,000 rows`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
