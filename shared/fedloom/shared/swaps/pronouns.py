"""Which part `her` and `his` play, by what follows: English gives two words one form each."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

_NEXT_WORD = re.compile(r"\s+([A-Za-z']+)")
_ALONE: Mapping[str, str] = MappingProxyType({"her": "her/object", "his": "his/alone"})


def key_of(term: str, following: str) -> str:
    """The key of a term in its list, given the text after it.

    `her` is read as `him` and `his` as `hers` where no word follows, or one of
    `terms/not-owned.txt`, which begin no noun phrase ("told her that"); otherwise each is a
    possessive. A rule of thumb: "saw her duck" is always read as a possessive.
    """
    key = term.casefold()
    if key not in _ALONE:
        return key
    found = _NEXT_WORD.match(following)
    owned = found is not None and found[1].casefold() not in _not_owned()
    return key if owned else _ALONE[key]


@cache
def _not_owned() -> frozenset[str]:
    listed = files("fedloom.shared.swaps").joinpath("terms", "not-owned.txt")
    return frozenset(listed.read_text("utf-8").split())
