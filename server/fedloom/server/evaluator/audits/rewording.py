"""Changes of an English text that leave its meaning alone, each as edits at places."""

import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from fedloom.server.evaluator.findings import Span

_WORD = re.compile(r"\b[A-Za-z]{4,}\b")
# No years, dates, times, shares, prices or marks out of ten: there, another number says something
# else.
_NUMBER = re.compile(
    r"(?<![\w/.,:$€£#-])[1-9]\d{0,2}(?![\w%]|[/.,:-]\d|\s*(?:/|%|stars?\b|points?\b|out of\b))"
)
# Common first names, each list of one gender, so that an exchange says nothing else.
_NAMES = (
    ("Mary", "Linda", "Susan", "Karen", "Lisa", "Nancy", "Sandra", "Ashley", "Emily", "Laura",
     "Sarah", "Anna", "Julia", "Rachel", "Megan", "Jessica", "Jennifer", "Amy", "Emma", "Alice"),
    ("James", "John", "Robert", "Michael", "David", "William", "Richard", "Thomas", "Daniel",
     "Matthew", "Steven", "Paul", "Andrew", "Kevin", "Brian", "George", "Peter", "Jack", "Adam",
     "Tom"),
)  # fmt: skip
# Long form, short form: only pairs that can be exchanged both ways whatever stands around them.
_FORMS = (
    ("do not", "don't"), ("does not", "doesn't"), ("did not", "didn't"), ("is not", "isn't"),
    ("are not", "aren't"), ("was not", "wasn't"), ("were not", "weren't"), ("have not", "haven't"),
    ("has not", "hasn't"), ("had not", "hadn't"), ("could not", "couldn't"),
    ("would not", "wouldn't"), ("should not", "shouldn't"), ("cannot", "can't"),
    ("will not", "won't"), ("I am", "I'm"), ("you are", "you're"), ("we are", "we're"),
    ("they are", "they're"), ("I have", "I've"), ("you have", "you've"), ("we have", "we've"),
    ("they have", "they've"),
)  # fmt: skip
_OTHER_FORM: Mapping[str, str] = MappingProxyType(
    {one.lower(): other for pair in _FORMS for one, other in (pair, pair[::-1])}
)
# A short form needs something after it: nobody says "Yes, I'm."
_FORM = re.compile(rf"\b(?:{'|'.join(map(re.escape, _OTHER_FORM))})\b(?=\s+\w)", re.IGNORECASE)
_NAME = re.compile(rf"\b(?:{'|'.join(name for names in _NAMES for name in names)})\b")


@dataclass(frozen=True, kw_only=True)
class Edit:
    """`text` in place of what stands from `start` to `end`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Reworded:
    """A text after its edits, and in pieces of which those that are new have weight 1."""

    text: str
    spans: tuple[Span, ...]


# What to change in a text; nothing where the change does not apply.
Rewording = Callable[[str, np.random.Generator], Sequence[Edit]]


def reword(text: str, name: str) -> Reworded | None:
    """The text under the rewording of this name, None where it does not apply.

    The same text is always reworded alike.
    """
    generator = np.random.default_rng(zlib.crc32(f"{name} {text}".encode()))
    edits = REWORDINGS[name](text, generator)
    if not edits:
        return None
    spans = tuple(_spans(text, edits))
    return Reworded(text="".join(span.text for span in spans), spans=spans)


def _spans(text: str, edits: Sequence[Edit]) -> Iterator[Span]:
    done = 0
    for edit in edits:
        yield from _span(text[done : edit.start], None)
        yield from _span(edit.text, 1.0)
        done = edit.end
    yield from _span(text[done:], None)


def _span(text: str, weight: float | None) -> Iterator[Span]:
    if text:
        yield Span(text=text, weight=weight)


def _typo(text: str, generator: np.random.Generator) -> Sequence[Edit]:
    """Two neighbouring letters within one word change places; its first and last stay."""
    places = [
        at
        for word in _WORD.finditer(text)
        for at in range(word.start() + 1, word.end() - 2)
        if text[at] != text[at + 1]
    ]
    if not places:
        return ()
    at = places[int(generator.integers(len(places)))]
    return (Edit(start=at, end=at + 2, text=text[at + 1] + text[at]),)


def _names(text: str, generator: np.random.Generator) -> Sequence[Edit]:
    """Each name becomes another of its list, everywhere the same."""
    found = list(_NAME.finditer(text))
    others = {name: _another(name, generator) for name in sorted({one[0] for one in found})}
    return [Edit(start=one.start(), end=one.end(), text=others[one[0]]) for one in found]


def _another(name: str, generator: np.random.Generator) -> str:
    names = next(names for names in _NAMES if name in names)
    others = [other for other in names if other != name]
    return others[int(generator.integers(len(others)))]


def _numbers(text: str, generator: np.random.Generator) -> Sequence[Edit]:
    """Each number becomes another of as many digits; none that an article might not fit."""
    return [
        Edit(start=one.start(), end=one.end(), text=_another_number(one[0], generator))
        for one in _NUMBER.finditer(text)
        if one[0] != "1"
    ]


def _another_number(digits: str, generator: np.random.Generator) -> str:
    lowest, highest = max(2, 10 ** (len(digits) - 1)), 10 ** len(digits) - 1
    drawn = int(generator.integers(lowest, highest))
    return str(drawn + (drawn >= int(digits)))


def _contractions(text: str, generator: np.random.Generator) -> Sequence[Edit]:
    """Every long form becomes short, every short one long."""
    return [
        Edit(start=one.start(), end=one.end(), text=_cased(_OTHER_FORM[one[0].lower()], one[0]))
        for one in _FORM.finditer(text)
    ]


def _cased(form: str, like: str) -> str:
    return form[0].upper() + form[1:] if like[0].isupper() else form


def _punctuation(text: str, generator: np.random.Generator) -> Sequence[Edit]:
    """A full stop at the end goes, or comes where a letter stands there."""
    end = len(text.rstrip())
    if text[:end].endswith(".") and not text[:end].endswith(".."):
        return (Edit(start=end - 1, end=end, text=""),)
    return (Edit(start=end, end=end, text="."),) if text[:end][-1:].isalnum() else ()


REWORDINGS: Mapping[str, Rewording] = MappingProxyType(
    {
        "typos": _typo,
        "names": _names,
        "numbers": _numbers,
        "contractions": _contractions,
        "punctuation": _punctuation,
    }
)
