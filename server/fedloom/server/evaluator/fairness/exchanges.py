"""Pairs of texts that differ in whom they speak of, or, as a reference, in nothing that matters."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType
from typing import Literal

from fedloom.server.evaluator.corpus import Corpus, pick
from fedloom.server.evaluator.fairness.templates import sentences
from fedloom.shared.data.records import Record
from fedloom.shared.swaps.swapping import exchanged, mentions, shifts
from fedloom.shared.swaps.vocabulary import vocabulary

Axis = Literal["gender", "names", "religion", "ethnicity"]
NEUTRAL = "neutral"
# The word lists of each axis. Names of one gender are exchanged for names of the same.
_TERMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gender": ("gender",),
        "names": ("names", "religious-names"),
        "religion": ("religion",),
        "ethnicity": ("ethnicity",),
        NEUTRAL: (NEUTRAL,),
    }
)


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """Two versions of one text. `source` names the text that both come from, a record or a
    template, and `cluster` what is resampled as one: all records of one unit. `groups` are those of
    the first and the second version, in the order of the word list, None where one version speaks
    of several groups; `pairs` the words exchanged."""

    axis: str
    source: str
    cluster: str
    natural: bool
    first: Record
    second: Record
    groups: tuple[str, str] | None
    pairs: tuple[tuple[str, str], ...]


def from_records(corpus: Corpus, axis: str, *, limit: int) -> Iterator[Exchange]:
    """All exchanges along an axis in at most `limit` records that hold one of its words."""
    holding = [at for at, record in enumerate(corpus.joint) if _holds(record.text, axis)]
    for place in pick(limit, of=len(holding)):
        at = holding[place]
        cluster = f"unit {corpus.units.numbers[at]}"
        for terms in _TERMS[axis]:
            for shift in shifts(terms):
                for one in _natural(corpus.joint[at], f"record {at}", axis, terms, shift):
                    yield replace(one, cluster=cluster)


def from_templates(axis: str, record: Record) -> Iterator[Exchange]:
    """Each template in the words of every two groups; `record` has all but the text."""
    for terms in _TERMS[axis]:
        groups = vocabulary(terms).groups
        for number, text in enumerate(sentences(terms)):
            versions = [exchanged(text, terms, shift) for shift in range(len(groups))]
            for one, other in combinations(range(len(groups)), 2):
                spoken = [[word for _, word in versions[at].pairs] for at in (one, other)]
                yield Exchange(
                    axis=axis,
                    source=f"template {terms} {number}",
                    cluster=f"template {terms} {number}",
                    natural=False,
                    first=replace(record, text=versions[one].text),
                    second=replace(record, text=versions[other].text),
                    groups=(groups[one], groups[other]),
                    pairs=tuple(zip(*spoken, strict=True)),
                )


def holds_any(records: Sequence[Record], axes: Sequence[str]) -> bool:
    """Whether any record has a word of any axis."""
    return any(_holds(record.text, axis) for record in records for axis in axes)


def _holds(text: str, axis: str) -> bool:
    return any(mentions(text, terms) for terms in _TERMS[axis])


def _natural(record: Record, source: str, axis: str, terms: str, shift: int) -> Iterator[Exchange]:
    swap = exchanged(record.text, terms, shift)
    if not swap.pairs:
        return
    changed = replace(record, text=swap.text)
    held, order = mentions(record.text, terms), vocabulary(terms).groups
    exchange = Exchange(
        axis=axis,
        source=source,
        cluster=source,
        natural=True,
        first=record,
        second=changed,
        groups=None,
        pairs=swap.pairs,
    )
    if len(held) == 1:
        was = order.index(next(iter(held)))
        exchange = _directed(exchange, order, was, (was + shift) % len(order))
    yield exchange


def _directed(exchange: Exchange, order: Sequence[str], was: int, becomes: int) -> Exchange:
    """With its groups, so that the earlier of the word list comes first."""
    if was < becomes:
        return replace(exchange, groups=(order[was], order[becomes]))
    return replace(
        exchange,
        first=exchange.second,
        second=exchange.first,
        groups=(order[becomes], order[was]),
        pairs=tuple((second, first) for first, second in exchange.pairs),
    )
