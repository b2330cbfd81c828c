"""Counterfactual texts, as audits measure them and sites train on them (Lu et al. 2018; Kusner
et al. 2017 for the idea of a counterfactual)."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache

from fedloom.shared.swaps.pronouns import key_of
from fedloom.shared.swaps.vocabulary import spelling, vocabulary

# Written with a vowel, spoken with a consonant.
_SPOKEN_WITH_CONSONANT = ("european", "uni", "one")


@dataclass(frozen=True, kw_only=True)
class Swap:
    """A text with all of an axis' words exchanged; `pairs` are (was, is), in the text's order."""

    text: str
    pairs: tuple[tuple[str, str], ...]


def swaps_of(text: str, axis: str) -> tuple[Swap, ...]:
    """All counterfactual texts along an axis: none where the text has none of its words.

    Guarantee: a function of the text, the axis and the word lists alone. Only whole words of the
    lists change, with the article before them; each keeps its case. With g groups there are g-1
    texts, in each of which every group's words became those of the group so many places on.
    """
    found = (exchanged(text, axis, shift) for shift in shifts(axis))
    return tuple(swap for swap in found if swap.pairs)


def shifts(axis: str) -> range:
    """By how many places groups can be exchanged along an axis."""
    return range(1, len(vocabulary(axis).groups))


def exchanged(text: str, axis: str, shift: int) -> Swap:
    """The text with each group's words become those of the group `shift` places on.

    Without such words, the text as it is and no pairs.
    """
    words, pieces, pairs, end = vocabulary(axis), list[str](), list[tuple[str, str]](), 0
    for found in _found(text, axis):
        was = found["term"]
        term = words.terms[key_of(was, text[found.end() :])]
        becomes = _cased(term.shifted(shift), like=was, usual=term.written)
        pieces += [text[end : found.start()], _article(found, becomes), becomes]
        pairs.append((was, becomes))
        end = found.end()
    return Swap(text="".join((*pieces, text[end:])), pairs=tuple(pairs))


def mentions(text: str, axis: str) -> frozenset[str]:
    """The groups of an axis that a text has words of."""
    words = vocabulary(axis)
    keys = (key_of(found["term"], text[found.end() :]) for found in _found(text, axis))
    return frozenset(words.groups[words.terms[key].group] for key in keys)


def _found(text: str, axis: str) -> Iterator[re.Match[str]]:
    names = vocabulary(axis).names
    for found in _pattern(axis).finditer(text):
        term = found["term"]
        if term.casefold() not in names or term[0].isupper():
            yield found


@cache
def _pattern(axis: str) -> re.Pattern[str]:
    words = vocabulary(axis)
    plain = {spelling(key) for key in words.terms} - words.qualified
    choices = [_any_of(plain)]
    if words.qualified:
        # Last, so that the longer "African American" is not read as its first word.
        choices.append(f"{_any_of(words.qualified)}(?=\\s+{_any_of(words.before)}\\b)")
    term = f"(?P<term>{'|'.join(choices)})"
    return re.compile(rf"(?<!\w)(?:(?P<article>an?)(?P<gap>\s+))?{term}(?!\w)", re.IGNORECASE)


def _any_of(words: Collection[str]) -> str:
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    return f"(?:{'|'.join(map(re.escape, longest_first))})"


def _article(found: re.Match[str], becomes: str) -> str:
    """The article before a term, as the term that replaces it wants it."""
    article = found["article"]
    if not article:
        return ""
    lower = becomes.casefold()
    vowel = lower[0] in "aeiou" and not lower.startswith(_SPOKEN_WITH_CONSONANT)
    return article[0] + ("n" if vowel else "") + str(found["gap"])


def _cased(word: str, *, like: str, usual: str) -> str:
    """`word` as its counterpart `like` is written, which is usually written `usual`."""
    if like == usual:
        return word
    if len(like) > 1 and like.isupper():
        return word.upper()
    if like.islower():
        return word.lower()
    return word[:1].upper() + word[1:] if like[0].isupper() else word
