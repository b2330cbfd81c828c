"""The protocol of an audit, and what its figures are made with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import AuditFindings, Better, Figure, Unit
from fedloom.server.evaluator.statistics import (
    BALANCE,
    SHARE,
    Bounds,
    Interval,
    Values,
    allow_unseen,
    has_width,
    mean,
    number_of,
    share_of,
)
from fedloom.server.evaluator.subject import Subject
from fedloom.server.evaluator.units import Units
from fedloom.shared.config.values import Section

# At most this many records, evenly picked: what an audit may cost.
Records = Annotated[int, Field(ge=1, le=1_000_000)]

_OF_ONE = "of one alone: no interval"
_BOUNDS: Mapping[Unit, Bounds] = MappingProxyType({"share": SHARE, "difference": BALANCE})


class Options(Section):
    """`[audits.NAME]`: every audit has options of its own."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Findings, and for figures that can be compared in pairs their value for each record.

    `samples` is by figure key; the mean of each is the figure, and the order of records is the
    same for every adapter. `clusters` names, for samples of which several values come from one
    text or privacy unit, what each value comes from.
    """

    findings: AuditFindings
    samples: Mapping[str, Values] = field(default_factory=lambda: MappingProxyType({}))
    clusters: Mapping[str, Sequence[object]] = field(default_factory=lambda: MappingProxyType({}))


class Missing(str):
    """Why an audit could not be made, where the adapter is not to blame: other records, or another
    machine, and it could. Any other reason says that the audit does not apply to the adapter."""

    __slots__ = ()


class Audit(Protocol):
    """One question to an adapter. Made once for a suite with its options; deterministic: the
    same adapter, corpus and options give the same findings."""

    name: str
    title: str
    asks: str

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        """Why the question makes no sense for this adapter or, then `Missing`, for these records;
        empty if it does."""

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        """The answer.

        Raises:
            EvaluationError: records are not fit to be measured.
            BrokenModelError: the model's answers are no numbers.
            AssetError: a public benchmark is not at hand.
        """


def found_by(audit: Audit) -> AuditFindings:
    """Empty findings of an audit, to be filled by `model_copy`."""
    return AuditFindings(audit=audit.name, title=audit.title, asks=audit.asks)


def clusters_of(units: Mapping[str, Units]) -> dict[str, Sequence[object]]:
    """The `clusters` of samples, by the units of the records that they are of: of none of those
    where each record is alone."""
    found = {key: of.clusters for key, of in units.items()}
    return {key: clusters for key, clusters in found.items() if clusters is not None}


def share_figure(
    key: str,
    words: str,
    hits: NDArray[np.bool_] | Values,
    *,
    better: Better,
    clusters: Sequence[object] | None = None,
) -> Figure:
    """The share of `hits` with the interval of `share_of`; its records are clusters."""
    found, records = share_of(hits, clusters), number_of(hits, clusters)
    return figure(key, words, found, records=records, better=better, unit="share")


def mean_figure(
    key: str,
    words: str,
    values: Values,
    *,
    better: Better,
    unit: Unit,
    clusters: Sequence[object] | None = None,
    bounds: Bounds | None = None,
) -> Figure:
    """The mean of `values`, with a bootstrap interval over clusters; its records are clusters."""
    found, records = mean(values, clusters=clusters), number_of(values, clusters)
    return figure(key, words, found, records=records, better=better, unit=unit, bounds=bounds)


def figure(
    key: str,
    words: str,
    found: Interval,
    *,
    records: int,
    better: Better,
    unit: Unit,
    bounds: Bounds | None = None,
) -> Figure:
    """A figure from an interval that was found elsewhere.

    Shares and differences of shares lie between bounds, others where `bounds` says so; between
    bounds, nothing is certain because no record differed (`allow_unseen`). Of a single record or
    unit that no bounds hold there is no interval, since it shows nothing of what others would give,
    and the words say so.
    """
    bounds = bounds or _BOUNDS.get(unit)
    if bounds is not None:
        found = allow_unseen(found, of=records, bounds=bounds)
    known = records > 1 or has_width(found)
    return Figure(
        key=key,
        words=words if known else f"{words} ({_OF_ONE})",
        value=found.value,
        low=found.low if known else None,
        high=found.high if known else None,
        records=records,
        better=better,
        unit=unit,
    )


def beside_chance(found: Figure, chance: float) -> Figure:
    """The figure, and what would come out on the average if there were nothing to find."""
    return found.model_copy(update={"chance": chance})
