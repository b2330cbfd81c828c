"""Numbers and names among words, for people."""

from collections.abc import Sequence


def count(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its word: `1 row`, `2,000 rows`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def any_of(names: Sequence[str]) -> str:
    """A choice: `a`, `a or b`, `a, b or c`."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
