"""Sentences that say something of a thing, and the same with "not": the answer must move."""

from collections.abc import Iterator
from dataclasses import dataclass

_GOOD = (
    "good", "great", "wonderful", "excellent", "fantastic", "lovely", "amazing", "superb",
    "brilliant", "enjoyable", "pleasant", "impressive", "delightful", "beautiful", "charming",
    "helpful", "fun", "nice", "perfect", "useful",
)  # fmt: skip
_BAD = (
    "bad", "terrible", "awful", "horrible", "boring", "poor", "dreadful", "disappointing", "ugly",
    "annoying", "stupid", "unpleasant", "dull", "useless", "nasty", "weak", "painful", "sad",
    "ridiculous", "tedious",
)  # fmt: skip
_FRAMES = (
    ("This is {}.", "This is not {}."),
    ("It was {}.", "It was not {}."),
    ("I find it {}.", "I do not find it {}."),
    ("That seems {}.", "That does not seem {}."),
)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A sentence with a word that speaks `well` or ill of something, and its negation."""

    plain: str
    negated: str
    well: bool


def pairs() -> tuple[Pair, ...]:
    """One for each word, in turns through the frames, so that pairs are no copies of another."""
    return tuple(_pairs())


def _pairs() -> Iterator[Pair]:
    for words, well in ((_GOOD, True), (_BAD, False)):
        for number, word in enumerate(words):
            plain, negated = _FRAMES[number % len(_FRAMES)]
            yield Pair(plain=plain.format(word), negated=negated.format(word), well=well)
