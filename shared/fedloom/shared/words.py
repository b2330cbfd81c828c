"""Numbers and names among words, for people."""

import difflib
import re
from collections.abc import Collection, Sequence

_FOLDERS = re.compile(r"(?<![\w.…/])/(?:[^\s/:,;]+/)+")


def count(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its word: `1 row`, `2,000 rows`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def any_of(names: Sequence[str]) -> str:
    """A choice: `a`, `a or b`, `a, b or c`."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def nearest(name: str, known: Collection[str]) -> str:
    """What to add to the news that a name is not known: the one that was meant, or all."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f", did you mean {close[0]}?" if close else f", expected one of {', '.join(known)}"


def without_folders(text: str) -> str:
    """The text with `…/` in place of the folders of absolute paths: where files lie on a machine
    is nobody else's."""
    return _FOLDERS.sub("…/", text)
