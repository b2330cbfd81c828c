"""Rounds of a deployment as they are seen from outside, and what to say of them."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.forwarder import Wire

_LOOK_SECONDS = 0.01
_ROUND_SECONDS = 180.0


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round: wall seconds, those of training, and bytes from and to all sites."""

    seconds: float
    training: float
    up: int
    down: int

    @property
    def beyond(self) -> float:
        """Seconds beyond training."""
        return self.seconds - self.training

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s ({self.beyond:.2f}), {(self.up + self.down) / 1e6:.2f} MB"


Marks = Sequence[tuple[float, int, int]]
Turns = Sequence[Sequence[Round]]
Found = Mapping[str, Turns]


def watched(journal: Path, wire: Wire, rounds: int) -> Marks:
    """When each round ended, and the bytes until then."""
    marks: list[tuple[float, int, int]] = []
    end = time.monotonic() + _ROUND_SECONDS * rounds
    while len(marks) < rounds:
        if time.monotonic() > end:
            raise TimeoutError(f"{journal}: {len(marks)} of {rounds} rounds")
        time.sleep(_LOOK_SECONDS)
        done = journal.read_bytes().count(b"\n") if journal.exists() else 0
        marks += [(time.monotonic(), wire.up, wire.down)] * (done - len(marks))
    return marks


def rounds_of(marks: Marks, training: Mapping[int, Sequence[float]]) -> list[Round]:
    """All rounds but the first; the slower site's training is the round's."""
    return [
        Round(
            seconds=after[0] - before[0],
            training=max(training[number]),
            up=after[1] - before[1],
            down=after[2] - before[2],
        )
        for number, (before, after) in enumerate(pairwise(marks), start=2)
    ]


def summary(found: Found, *, to: str) -> dict[str, dict[str, float]]:
    """Medians over all rounds, least and most, and over `to`: in each turn, the median of those."""
    return {name: _summed(found[name], found[to]) for name in found}


def _summed(turns: Turns, base: Turns) -> dict[str, float]:
    every = [each for turn in turns for each in turn]
    beyond = [each.beyond for each in every]
    return {
        "rounds": len(every),
        "seconds": statistics.median(each.seconds for each in every),
        "training": statistics.median(each.training for each in every),
        "beyond": statistics.median(beyond),
        "least_beyond": min(beyond),
        "most_beyond": max(beyond),
        "beyond_ratio": _ratio(turns, base, lambda each: each.beyond),
        "seconds_ratio": _ratio(turns, base, lambda each: each.seconds),
        "up": statistics.median(each.up for each in every),
        "down": statistics.median(each.down for each in every),
        "bytes_ratio": _ratio(turns, base, lambda each: each.up + each.down),
    }


def _ratio(
    turns: Sequence[Sequence[Round]],
    base: Sequence[Sequence[Round]],
    what: Callable[[Round], float],
) -> float:
    middles = [[statistics.median(map(what, turn)) for turn in each] for each in (turns, base)]
    return statistics.median(own / other for own, other in zip(*middles, strict=True))
