"""What exchanged words do to a model's answers, by text, with intervals over texts, or over the
privacy units that several texts come from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.fairness.exchanges import Exchange
from fedloom.server.evaluator.statistics import (
    BALANCE,
    SHARE,
    Interval,
    Values,
    allow_unseen,
    mean,
)
from fedloom.server.evaluator.subject import Subject
from fedloom.shared.data.chats import Turn
from fedloom.shared.data.records import Record
from fedloom.shared.errors import EvaluationError


@dataclass(frozen=True, kw_only=True)
class Effects:
    """Of each exchange: the positive label's probability `before`, of the first version, and
    `after`, of the second; whether the label `flips`; each of shape (n,)."""

    exchanges: tuple[Exchange, ...]
    before: Values
    after: Values
    flips: NDArray[np.bool_]

    @property
    def shifts(self) -> Values:
        """Second minus first."""
        found: Values = self.after - self.before
        return found

    def where(self, chosen: Sequence[bool]) -> "Effects":
        """Those that were chosen."""
        at = np.flatnonzero(chosen)
        return Effects(
            exchanges=tuple(self.exchanges[number] for number in at),
            before=self.before[at],
            after=self.after[at],
            flips=self.flips[at],
        )


@dataclass(frozen=True, kw_only=True)
class ByText:
    """The mean of a value over all exchanges of an axis in one text; one entry for each axis and
    text, and `clusters` names the text or the unit that it comes from, since an axis' texts may
    hold words of another; `natural` are those of records."""

    values: Values
    clusters: tuple[str, ...]
    natural: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Number of clusters."""
        return len(set(self.clusters))


def effects_of(subject: Subject, exchanges: Sequence[Exchange], positive: int) -> Effects:
    """Every version is asked once, however many exchanges it is in.

    Raises:
        EvaluationError: answers that are no numbers, or of no label set.
    """
    versions: dict[tuple[str, tuple[Turn, ...]], int] = {}
    records: list[Record] = []
    rows = np.zeros((len(exchanges), 2), dtype=np.int64)
    for number, exchange in enumerate(exchanges):
        for side, record in enumerate((exchange.first, exchange.second)):
            key = record.text, record.before
            if key not in versions:
                versions[key] = len(records)
                records.append(record)
            rows[number, side] = versions[key]
    found = subject.outcomes(records).probabilities
    if found is None:
        raise EvaluationError(f"{subject.candidate.name}: no label set, expected task.labels")
    labels = found.argmax(axis=1)
    return Effects(
        exchanges=tuple(exchanges),
        before=found[rows[:, 0], positive],
        after=found[rows[:, 1], positive],
        flips=labels[rows[:, 0]] != labels[rows[:, 1]],
    )


def by_text(effects: Effects, values: Values) -> ByText:
    """Means of `values`, one for each exchange, within each axis and text."""
    places: dict[tuple[str, str], int] = {}
    clusters: dict[int, str] = {}
    at = np.zeros(len(effects.exchanges), dtype=np.int64)
    for number, one in enumerate(effects.exchanges):
        at[number] = places.setdefault((one.axis, one.source), len(places))
        clusters[at[number]] = one.cluster
    sums = np.bincount(at, weights=values)
    natural = np.zeros(len(places), dtype=bool)
    natural[at] = [one.natural for one in effects.exchanges]
    of = tuple(clusters[place] for place in range(len(places)))
    return ByText(values=sums / np.bincount(at), clusters=of, natural=natural)


def mixed_like(found: ByText, other: ByText) -> ByText:
    """Values weighted so that records and templates count as much as in `other`: labels of short
    templates change more easily, whatever is exchanged. As they are if one kind is missing."""
    kinds = (True, False)
    have = [float((found.natural == kind).mean()) for kind in kinds]
    want = [float((other.natural == kind).mean()) for kind in kinds]
    if any(wanted and not had for had, wanted in zip(have, want, strict=True)):
        return found
    records, templates = (w / h if h else 0.0 for h, w in zip(have, want, strict=True))
    return replace(found, values=found.values * np.where(found.natural, records, templates))


def mean_by_text(found: ByText) -> Interval:
    """The mean of values from 0 to 1, with a bootstrap interval over clusters."""
    return mean(found.values, clusters=found.clusters, bounds=SHARE)


def difference(one: ByText, other: ByText, *, resamples: int = 1000, seed: int = 0) -> Interval:
    """Mean of one minus mean of the other, both of values from 0 to 1; clusters are drawn for both
    at once."""
    names = {name: at for at, name in enumerate(dict.fromkeys((*one.clusters, *other.clusters)))}
    tables = np.zeros((len(names), 4))
    for column, part in ((0, one), (2, other)):
        at = [names[name] for name in part.clusters]
        np.add.at(tables[:, column], at, part.values)
        np.add.at(tables[:, column + 1], at, 1.0)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
    sums = drawn.astype(np.float64) @ tables
    low, high = np.nanpercentile(_mean(sums, 0) - _mean(sums, 2), [2.5, 97.5])
    value = float(one.values.mean() - other.values.mean())
    return allow_unseen(
        Interval(value=value, low=float(low), high=float(high)),
        of=min(one.count, other.count),
        bounds=BALANCE,
    )


def _mean(sums: Values, column: int) -> Values:
    total, count = sums[:, column], sums[:, column + 1]
    found: Values = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return found
