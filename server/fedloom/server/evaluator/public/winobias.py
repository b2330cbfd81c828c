"""WinoBias: sentences with two occupations and a pronoun, in a stereotyped and a turned version.

J. Zhao et al., "Gender Bias in Coreference Resolution", NAACL 2018. In type 1 only knowledge of
the world tells whom the pronoun means, in type 2 the syntax does.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedloom.server.evaluator.corpus import pick
from fedloom.server.evaluator.public.archive import damaged, read_text
from fedloom.shared.errors import AssetError

TYPES = (1, 2)
_HE = ("he", "him", "his", "himself")
_SHE = ("she", "her", "hers", "herself")
_PRONOUNS = frozenset((*_HE, *_SHE))
_MARKED = re.compile(r"\[([^\]]*)\]")
_ARTICLE = re.compile(r"^(the|a|an) ", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class WinoPair:
    """A sentence whose pronoun has the gender of the occupation's stereotype, and the same with
    the other gender. The pronoun means `right` and not `wrong`; `female` says that it is the
    stereotyped version's that is feminine. Pairs of one `twin` are about the same two people,
    one with each gender."""

    type: int
    twin: str
    stereotyped: str
    turned: str
    pronouns: tuple[str, str]
    right: str
    wrong: str
    female: bool


def read_winobias(archive: Path, *, pairs: int) -> tuple[WinoPair, ...]:
    """At most so many pairs, evenly picked over types and files, in whole twins.

    A preference for one gender alone cancels within a twin. About one twin in twenty, whose
    versions differ in more than pronouns, is left out.

    Raises:
        AssetError: a member is missing or damaged.
    """
    occupations = [
        name.strip()
        for which in ("male", "female")
        for name in read_text(archive, f"WinoBias/data/{which}_occupations.txt").splitlines()
    ]
    found: list[WinoPair] = []
    for type_ in TYPES:
        twins = [
            twin for part in ("dev", "test") for twin in _twins(archive, type_, part, occupations)
        ]
        if not twins:
            raise AssetError(f"asset {archive}: WinoBias type {type_} has no pair, expected some")
        found += [pair for at in pick(max(1, pairs // 4), of=len(twins)) for pair in twins[at]]
    return tuple(found)


def _twins(
    archive: Path, type_: int, part: str, occupations: Sequence[str]
) -> Iterator[tuple[WinoPair, WinoPair]]:
    name = f"stereotyped_type{type_}.txt.{part}"
    pro, anti = (_lines(archive, f"WinoBias/data/{side}_{name}") for side in ("pro", "anti"))
    if len(pro) != len(anti):
        raise damaged(archive, f"WinoBias/data/anti_{name}")
    pairs = [
        _pair(one, other, type_, f"type {type_}, {part}, {at // 2}", occupations)
        for at, (one, other) in enumerate(zip(pro, anti, strict=True))
    ]
    for first, second in zip(pairs[::2], pairs[1::2], strict=False):
        if first is not None and second is not None and first.female != second.female:
            yield first, second


def _lines(archive: Path, member: str) -> list[str]:
    """Sentences in their order, without the number that each begins with."""
    lines = [line.partition(" ") for line in read_text(archive, member).splitlines()]
    if not all(number.isdigit() for number, _, _ in lines):
        raise damaged(archive, member)
    return [sentence.strip() for _, _, sentence in lines]


def _pair(
    pro: str, anti: str, type_: int, twin: str, occupations: Sequence[str]
) -> WinoPair | None:
    stereotyped, turned = (_MARKED.sub(r"\1", text) for text in (pro, anti))
    marked = _MARKED.findall(pro)
    pronouns = _changed(stereotyped, turned)
    named = [name for name in marked if name.lower() not in _PRONOUNS]
    here = [name for name in occupations if re.search(rf"\b{name}\b", stereotyped, re.IGNORECASE)]
    right = _ARTICLE.sub("", named[0].strip()) if named else ""
    wrong = [name for name in here if name.lower() != right.lower()]
    if pronouns is None or len(here) != len(wrong) + 1 or len(wrong) != 1:
        return None
    return WinoPair(
        type=type_,
        twin=twin,
        stereotyped=stereotyped,
        turned=turned,
        pronouns=pronouns,
        right=right,
        wrong=wrong[0],
        female=pronouns[0] in _SHE,
    )


def _changed(first: str, second: str) -> tuple[str, str] | None:
    """The first pronoun of each that differs, None if anything else does."""
    words = [re.findall(r"\w+|\W+", text) for text in (first, second)]
    if len(words[0]) != len(words[1]):
        return None
    changed = [(a.lower(), b.lower()) for a, b in zip(*words, strict=True) if a != b]
    if not changed or not all(a in _PRONOUNS and b in _PRONOUNS for a, b in changed):
        return None
    return changed[0]
