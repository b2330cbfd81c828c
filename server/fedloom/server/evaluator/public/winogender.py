"""Winogender: one sentence with a masculine, a feminine and a neutral pronoun, by occupation.

R. Rudinger et al., "Gender Bias in Coreference Resolution", NAACL 2018. 240 sentences in three
versions, 60 occupations, with the share of women in each from the U.S. Bureau of Labor Statistics.
"""

from dataclasses import dataclass
from pathlib import Path

from fedloom.server.evaluator.public.archive import damaged, read_rows
from fedloom.shared.errors import AssetError

_SENTENCES = "Winogender/data/all_sentences.tsv"
_SHARES = "Winogender/data/occupations-stats.tsv"
_VERSIONS = ("male", "female", "neutral")


@dataclass(frozen=True, kw_only=True)
class Schema:
    """A sentence in three versions. `women` is the share of women in the occupation, from 0 to 1;
    `about_occupation` says that the pronoun means the occupation's holder and not the other."""

    occupation: str
    women: float
    about_occupation: bool
    male: str
    female: str
    neutral: str


def read_winogender(archive: Path) -> tuple[Schema, ...]:
    """All of them, in the file's order.

    Raises:
        AssetError: a member is missing or damaged.
    """
    women = _shares(archive)
    versions: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in read_rows(archive, _SENTENCES, ("sentid", "sentence"), delimiter="\t"):
        # As in technician.customer.1.male.txt: 0 stands for the occupation, 1 for the other.
        occupation, _, rest = row["sentid"].partition(".")
        other, answer, version, *_ = [*rest.split("."), "", "", ""]
        versions.setdefault((occupation, other, answer), {})[version] = row["sentence"]
    found = []
    for (occupation, _, answer), by in versions.items():
        if set(by) != set(_VERSIONS) or occupation not in women or answer not in ("0", "1"):
            raise damaged(archive, _SENTENCES)
        found.append(
            Schema(
                occupation=occupation,
                women=women[occupation],
                about_occupation=answer == "0",
                male=by["male"],
                female=by["female"],
                neutral=by["neutral"],
            )
        )
    return tuple(found)


def _shares(archive: Path) -> dict[str, float]:
    rows = read_rows(archive, _SHARES, ("occupation", "bls_pct_female"), delimiter="\t")
    try:
        return {row["occupation"]: float(row["bls_pct_female"]) / 100 for row in rows}
    except ValueError as error:
        raise AssetError(
            f"asset {archive}: {_SHARES} has a share that is no number, expected numbers"
        ) from error
