"""VADER's lexicon: English words with a valence from -4 (worst) to 4, each rated by ten people.

C.J. Hutto and E. Gilbert, "VADER", ICWSM 2014. MIT licence.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from fedloom.server.evaluator.public.archive import damaged, read_tar_text

LEXICON = "vaderSentiment"
_MEMBER = "vaderSentiment/vader_lexicon.txt"
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


def read_vader(archive: Path) -> Mapping[str, float]:
    """Valence by word; emoticons and other entries that are no word are left out.

    Raises:
        AssetError: the member is missing or damaged.
    """
    rows = [line.split("\t") for line in read_tar_text(archive, _MEMBER).split("\n") if line]
    try:
        return {row[0]: float(row[1]) for row in rows if _WORD.fullmatch(row[0])}
    except (IndexError, ValueError) as error:
        raise damaged(archive, _MEMBER) from error


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case, as the lexicon has them."""
    return _WORD.findall(text.lower())
