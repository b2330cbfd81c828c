"""Words of a corpus that are typical of its labels."""

from collections import Counter
from collections.abc import Sequence

from fedloom.server.evaluator.explain.words import split_words
from fedloom.shared.data.records import Record

# Rarer words say little of a label, and may name someone.
_FEWEST_RECORDS = 5


def words_against(records: Sequence[Record], label: int, *, count: int) -> tuple[str, ...]:
    """The words most typical of records of other labels, in lower case; at most `count`.

    Typical is by the share of records that have it, in standard errors of the difference; words
    in fewer than 5 records are left out.
    """
    theirs: Counter[str] = Counter()
    ours: Counter[str] = Counter()
    for record in records:
        (ours if record.label == label else theirs).update(_words(record.text))
    sizes = sum(record.label == label for record in records)
    others = len(records) - sizes
    if not (sizes and others):
        return ()
    scores = {
        word: _z(theirs[word] / others, ours[word] / sizes, others, sizes)
        for word in theirs
        if theirs[word] + ours[word] >= _FEWEST_RECORDS
    }
    return tuple(
        sorted((w for w in scores if scores[w] > 0), key=lambda w: (-scores[w], w))[:count]
    )


def _words(text: str) -> set[str]:
    found = (text[start:end].lower() for start, end in split_words(text))
    return {word for word in found if any(letter.isalpha() for letter in word)}


def _z(first: float, second: float, first_size: int, second_size: int) -> float:
    """Of two shares, by their pooled variance."""
    pooled = (first * first_size + second * second_size) / (first_size + second_size)
    variance = pooled * (1 - pooled) * (1 / first_size + 1 / second_size)
    return float((first - second) / variance**0.5) if variance > 0 else 0.0
