"""CrowS-Pairs: two sentences that differ in a group, one of them the more stereotyping.

N. Nangia et al., "CrowS-Pairs: A Challenge Dataset for Measuring Social Biases in Masked Language
Models", EMNLP 2020.
"""

from dataclasses import dataclass
from pathlib import Path

from fedloom.server.evaluator.corpus import pick
from fedloom.server.evaluator.public.archive import read_rows

_PAIRS = "CrowS-Pairs/data/crows_pairs_anonymized.csv"


@dataclass(frozen=True, kw_only=True)
class CrowsPair:
    """`more` is the sentence that stereotypes more, whichever group it is about."""

    more: str
    less: str
    bias: str


def read_crows(archive: Path, *, pairs: int) -> tuple[CrowsPair, ...]:
    """At most so many pairs, evenly picked.

    Raises:
        AssetError: the member is missing or damaged.
    """
    rows = read_rows(archive, _PAIRS, ("sent_more", "sent_less", "bias_type"))
    return tuple(
        CrowsPair(more=row["sent_more"], less=row["sent_less"], bias=row["bias_type"])
        for row in (rows[at] for at in pick(pairs, of=len(rows)))
    )
