"""The likelihood-ratio attack (LiRA) on canaries, in the shape of all findings.

N. Carlini et al., "Membership Inference Attacks From First Principles", S&P 2022.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.audits.base import beside_chance, figure
from fedloom.server.evaluator.findings import AuditFindings, Figure
from fedloom.server.evaluator.privacy.membership import (
    AUC_BY_CHANCE,
    auc,
    lira_online,
    resampled,
    tpr_at,
)
from fedloom.server.evaluator.statistics import Values
from fedloom.shared.words import count

_LOW_FPR = 0.01
_SOURCE = (
    "N. Carlini, S. Chien, M. Nasr, S. Song, A. Terzis and F. Tramèr, Membership Inference "
    "Attacks From First Principles, S&P 2022"
)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """How sure each final adapter is of each canary's answer, as log-odds less their mean over the
    label: `scores` of the audited run, shape (canaries,), and `shadows`, shape (runs, canaries).
    `inside`, of that shape, says which canaries each shadow run had."""

    scores: Values
    shadows: Values
    inside: NDArray[np.bool_]

    @property
    def comparable(self) -> NDArray[np.bool_]:
        """Which canaries some shadow runs had and some had not, shape (canaries,)."""
        had = self.inside.sum(axis=0)
        found: NDArray[np.bool_] = (had > 0) & (had < len(self.inside))
        return found


def with_lira(findings: AuditFindings, seen: Seen, inside: NDArray[np.bool_]) -> AuditFindings:
    """The findings, and how well LiRA tells the audited run's coins `inside`, shape (canaries,).

    Canaries that all or no shadow runs had cannot be compared: they are left out, and counted.
    """
    at = seen.comparable
    return findings.model_copy(
        update={
            "figures": (*findings.figures, *_figures(seen, inside[at])),
            "caveats": (*findings.caveats, *_caveats(seen, inside[at])),
            "sources": (*findings.sources, _SOURCE),
        }
    )


def has_lira(findings: AuditFindings) -> bool:
    """Whether `with_lira` made the findings."""
    return _SOURCE in findings.sources


def _figures(seen: Seen, inside: NDArray[np.bool_]) -> Iterator[Figure]:
    if not _both(inside):
        return
    at = seen.comparable
    ratios = lira_online(seen.scores[at], seen.shadows[:, at], seen.inside[:, at])
    asked = (
        (
            "lira_auc",
            "how often a canary that was in looks likelier in than one that was not to LiRA, "
            "which compares with shadow runs (AUC)",
            auc,
            AUC_BY_CHANCE,
        ),
        (
            "lira_tpr_at_1_fpr",
            "share of the canaries that were in which LiRA finds when 1 in 100 of those left out "
            "is taken for one",
            _tpr_at_low,
            _LOW_FPR,
        ),
    )
    for key, words, statistic, chance in asked:
        found = resampled(statistic, ratios[inside], ratios[~inside])
        told = figure(key, words, found, records=inside.size, better="lower", unit="share")
        yield beside_chance(told, chance)


def _tpr_at_low(members: Values, others: Values) -> float:
    return tpr_at(members, others, fpr=_LOW_FPR)


def _caveats(seen: Seen, inside: NDArray[np.bool_]) -> Iterator[str]:
    runs, canaries = seen.inside.shape
    yield (
        f"LiRA had {runs} shadow runs to compare with, and may find more with more of them. It "
        "looks at the final adapter alone, and knows all other records. No epsilon follows from "
        "it."
    )
    if inside.size < canaries:
        left = count(canaries - inside.size, "canary", "canaries")
        yield f"LiRA: {left} of {canaries} left out, which all or none of the shadow runs had."
    if not _both(inside):
        yield "LiRA: measured nothing, since those left were all in or all out."


def _both(inside: NDArray[np.bool_]) -> bool:
    return bool(inside.any() and not inside.all())
