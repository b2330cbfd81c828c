"""The smallest edits of a text that make the model say something else."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType

from fedloom.server.evaluator.explain.asking import Classify, Search, in_step
from fedloom.server.evaluator.explain.words import WordedText

# Words tried of each text: those that speak most for its label.
_CANDIDATES = 6

# Place of a word and what stands there instead, nothing if it is taken out.
Change = tuple[int, str]
Changes = frozenset[Change]


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Changes that flip the label to `label`; no proper part of them flips it."""

    changes: Mapping[int, str]
    label: int

    def words(self, text: WordedText) -> str:
        """For people: which words go, and which come in their place."""
        return ", ".join(
            f"{text.words[at]} → {new}" if new else text.words[at]
            for at, new in sorted(self.changes.items())
        )


def smallest_edits(
    ask: Classify,
    texts: Sequence[WordedText],
    orders: Sequence[Sequence[int]],
    *,
    max_edits: int,
    substitutes: Sequence[Collection[str]] | None = None,
) -> list[Edit | None]:
    """For each text the smallest edit found, of at most `max_edits` words; None if there is none.

    A word is taken out, or, with `substitutes`, replaced by one of those of its text. Tried are
    the first words of each order. Sets grow by the word that costs the label most; before one
    grows further, each of its words is tried against each other. What flips is minimal: all of
    its proper parts were asked, and none flips.

    Raises:
        EvaluationError: an answer is no number.
    """
    searches = []
    for at, (text, order) in enumerate(zip(texts, orders, strict=True)):
        news = ("",) if substitutes is None else tuple(substitutes[at])
        changes = [(place, new) for place in order[:_CANDIDATES] for new in news]
        searches.append(_search(text, changes, max_edits))
    return in_step(searches, ask)


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """A set of changes and what the model then says: `label`, and how likely the first one is."""

    changes: Changes
    label: int
    left: float


def _search(text: WordedText, changes: Sequence[Change], max_edits: int) -> Search[Edit | None]:
    before = int((yield [text.text])[0].argmax())
    now: Changes = frozenset()
    for _ in range(max_edits):
        grown = _grown(now, changes)
        if not grown:
            return None
        best = yield from _best(text, grown, before)
        if best.label == before and (swapped := _swapped(best.changes, changes)):
            other = yield from _best(text, swapped, before)
            best = min(best, other, key=lambda one: (one.label == before, one.left))
        if best.label != before:
            return (yield from _least(text, best, before))
        now = best.changes
    return None


def _best(text: WordedText, sets: Sequence[Changes], before: int) -> Search[_Tried]:
    """One that flips, if any does, and of those the one that leaves the label least."""
    answers = yield [text.edited(dict(one)) for one in sets]
    tried = [
        _Tried(changes=one, label=int(answer.argmax()), left=float(answer[before]))
        for one, answer in zip(sets, answers, strict=True)
    ]
    return min(tried, key=lambda one: (one.label == before, one.left))


def _least(text: WordedText, found: _Tried, before: int) -> Search[Edit | None]:
    """The smallest part that flips alone, or the whole: its own parts are parts of the whole."""
    for size in range(1, len(found.changes)):
        parts = [frozenset(part) for part in combinations(sorted(found.changes), size)]
        best = yield from _best(text, parts, before)
        if best.label != before:
            found = best
            break
    return Edit(changes=MappingProxyType(dict(found.changes)), label=found.label)


def _grown(now: Changes, changes: Iterable[Change]) -> list[Changes]:
    taken = {place for place, _ in now}
    return [now | {change} for change in changes if change[0] not in taken]


def _swapped(now: Changes, changes: Sequence[Change]) -> list[Changes]:
    """All sets that differ from this one in one change, if it has others beside."""
    if len(now) < 2:
        return []
    found = [one for gone in sorted(now) for one in _grown(now - {gone}, changes)]
    return [one for one in dict.fromkeys(found) if one != now]
