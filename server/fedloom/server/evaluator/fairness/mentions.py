"""A grouping out of the texts alone: whether they mention women, men, both or neither."""

from collections.abc import Iterable

from fedloom.shared.data.records import Record
from fedloom.shared.swaps.swapping import mentions

MENTIONS = "mentions"
CAVEAT = (
    "mentions: whom a text speaks of, found by a list of words and common names. It does not say "
    "who wrote it or whose record it is, and a text may speak of someone in other words."
)
_WORDS = {
    frozenset(["female"]): "women",
    frozenset(["male"]): "men",
    frozenset(["female", "male"]): "both",
    frozenset[str](): "neither",
}


def mentioned(records: Iterable[Record]) -> tuple[str, ...]:
    """One of women, men, both, neither for each record."""
    return tuple(_WORDS[mentions(record.text, "gender")] for record in records)
