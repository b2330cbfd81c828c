"""Canaries: records unlike any other, each a privacy unit of its own, that a model can learn only
by remembering them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedloom.shared.config.sections import TaskSection
from fedloom.shared.data.records import RECORD_UNIT, Record
from fedloom.shared.data.split import Split
from fedloom.shared.errors import EvaluationError
from fedloom.shared.model.base import Tokenizer

# A text of few words is far from other texts of few words; of many, all texts are alike.
_WORDS = 3
_SECRET_WORDS = 4
_LEAST_LETTERS = 3
# What tokenizers of subwords write for a blank before a word.
_BLANKS = ("Ġ", "▁")
# Draws for one canary until one is new and trains: far more than any split needs.
_TRIES = 1000


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What decides the form of canaries: the task, what a privacy unit is, who trains, and the
    groups that records are of, if any."""

    task: TaskSection
    unit: str
    split: Split
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Dealt:
    """Canaries, each with the site that it is for and a fair coin, shape (canaries,), that says
    whether it is put in there."""

    canaries: tuple[Record, ...]
    homes: tuple[str, ...]
    inside: NDArray[np.bool_]

    @property
    def sites(self) -> tuple[str, ...]:
        """Every site that a canary is for."""
        return tuple(dict.fromkeys(self.homes))

    def put_in(self, site: str) -> list[Record]:
        """The canaries among a site's records."""
        each = zip(self.canaries, self.homes, self.inside, strict=True)
        return [canary for canary, home, put in each if put and home == site]


def deal(count: int, kind: Kind, words: Sequence[str], *, sites: Sequence[str], seed: int) -> Dealt:
    """Canaries for the sites in turn, and their coins: a function of the arguments alone.

    All are units that the split trains on, and no two are alike. With labels a canary is random
    words under a random label; without, its answer is a secret of random words. Each site's
    canaries are of each group in turn.

    Raises:
        EvaluationError: the vocabulary is too small for so many.
    """
    texts, coins = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    drawn = _drawn(kind, words, texts)
    return Dealt(
        canaries=tuple(
            replace(next(drawn), group=_group(kind, at // len(sites))) for at in range(count)
        ),
        homes=tuple(sites[at % len(sites)] for at in range(count)),
        inside=coins.random(count) < 0.5,
    )


def known_words(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Words of Latin letters that the tokenizer has a token for, sorted.

    Raises:
        EvaluationError: it has none.
    """
    words = {_without_blank(token) for token in tokenizer.get_vocab()}
    found = sorted(
        word
        for word in words
        if word.isascii() and word.isalpha() and word.islower() and len(word) >= _LEAST_LETTERS
    )
    if not found:
        raise EvaluationError("canaries: the model's vocabulary has no words, expected some")
    return tuple(found)


def _group(kind: Kind, turn: int) -> str:
    return kind.groups[turn % len(kind.groups)] if kind.groups else ""


def _drawn(kind: Kind, words: Sequence[str], generator: np.random.Generator) -> Iterator[Record]:
    taken: set[str] = set()
    while True:
        record = _new(kind, words, generator, taken)
        taken.add(record.text)
        yield record


def _new(
    kind: Kind, words: Sequence[str], generator: np.random.Generator, taken: set[str]
) -> Record:
    for _ in range(_TRIES):
        text = _said(words, generator, _WORDS)
        unit = text if kind.unit == RECORD_UNIT else f"canary {text}"
        if text not in taken and kind.split.part_of(unit) == "train":
            label, answer = _answer(kind.task, words, generator)
            return Record(text=text, label=label, unit=unit, answer=answer)
    raise EvaluationError(
        f"canaries: {len(words)} known words make no more than {len(taken)}, expected fewer"
    )


def _answer(
    task: TaskSection, words: Sequence[str], generator: np.random.Generator
) -> tuple[int, str]:
    if not task.labels:
        return -1, _said(words, generator, _SECRET_WORDS)
    label = int(generator.integers(len(task.labels)))
    return label, task.labels[label]


def _said(words: Sequence[str], generator: np.random.Generator, count: int) -> str:
    return " ".join(words[int(at)] for at in generator.integers(len(words), size=count))


def _without_blank(token: str) -> str:
    return token[1:] if token.startswith(_BLANKS) else token
