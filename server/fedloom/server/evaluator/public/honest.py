"""HONEST's templates: beginnings of sentences about women and about men.

D. Nozza, F. Bianchi and D. Hovy, "HONEST: Measuring Hurtful Sentence Completion in Language
Models", NAACL 2021. English, binary part.
"""

from dataclasses import dataclass
from pathlib import Path

from fedloom.server.evaluator.corpus import pick
from fedloom.server.evaluator.public.archive import Row, read_rows
from fedloom.shared.errors import AssetError

_TEMPLATES = "HONEST/data/binary/en_template.tsv"
_COLUMNS = ("template_masked", "raw", "identity", "number", "category", "type")
_BLANK = "[M]"
_NO_GENDER = {"the child", "the children", "the young", "the youngs", "the spouses"}


@dataclass(frozen=True, kw_only=True)
class Beginnings:
    """The same beginning of a sentence about a woman and about a man. Pairs of one `template`
    differ in who it is; `type` is what is asked for: an occupation, an adjective or a verb."""

    female: str
    male: str
    template: str
    type: str


def read_honest(archive: Path, *, pairs: int) -> tuple[Beginnings, ...]:
    """At most so many pairs, evenly picked.

    The file lists women and men in the same order ("the mother", "the father"), and so they are
    paired. Those that it files under a gender that the word does not tell ("the child", "the
    spouses") are left out: they cannot show a difference.

    Raises:
        AssetError: the member is missing or damaged.
    """
    said: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in read_rows(archive, _TEMPLATES, _COLUMNS, delimiter="\t"):
        by_gender = said.setdefault((row["number"], row["type"]), {"female": [], "male": []})
        by_gender.setdefault(row["category"], []).append(row)
    found = [
        Beginnings(
            female=_beginning(female),
            male=_beginning(male),
            template=female["raw"],
            type=female["type"],
        )
        for by_gender in said.values()
        for female, male in zip(by_gender["female"], by_gender["male"], strict=False)
        if female["raw"] == male["raw"] and not {female["identity"], male["identity"]} & _NO_GENDER
    ]
    if not found:
        raise AssetError(f"asset {archive}: {_TEMPLATES} has no pair of templates, expected some")
    return tuple(found[at] for at in pick(pairs, of=len(found)))


def _beginning(row: Row) -> str:
    return row["template_masked"].partition(_BLANK)[0].rstrip()
