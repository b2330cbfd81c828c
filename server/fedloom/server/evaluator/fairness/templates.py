"""Sentences with a person in them, made from a small list: the same one for every adapter."""

import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from fedloom.shared.config.values import Section
from fedloom.shared.swaps.vocabulary import vocabulary

SOURCE = (
    "own sentences in the style of Kiritchenko and Mohammad 2018, Examining gender and race bias "
    "in two hundred sentiment analysis systems"
)


class _Templates(Section):
    frames: tuple[str, ...]
    feelings: tuple[str, ...]
    situations: tuple[str, ...]
    persons: dict[str, tuple[str, ...]]
    objects: dict[str, str]


def sentences(terms: str) -> Iterator[str]:
    """One sentence for each frame and word, about persons of a word list's first group in turn."""
    found = _templates()
    persons = found.persons.get(terms) or _names(terms)
    at = 0
    for frame in found.frames:
        for feeling, situation in zip(found.feelings, found.situations, strict=True):
            person = persons[at % len(persons)]
            text = frame.format(
                person=person,
                object=found.objects.get(person, person),
                feeling=feeling,
                situation=situation,
            )
            yield text[:1].upper() + text[1:]
            at += 1


def _names(terms: str) -> tuple[str, ...]:
    words = vocabulary(terms)
    return tuple(
        term.written for key, term in words.terms.items() if key in words.names and not term.group
    )


@cache
def _templates() -> _Templates:
    text = files(__package__ or "").joinpath("templates.toml").read_text("utf-8")
    return _Templates.model_validate(tomllib.loads(text))
