"""Subjects and records that audits apply to, or do not; each subject is made once for a folder."""

import json
import string
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.subject import Subject
from fedloom.shared.config.sections import TaskSection
from fedloom.shared.data.records import Record
from tests.support.benchmarks import (
    bbq_members,
    corpus_of,
    crows_members,
    honest_members,
    winobias_members,
    winogender_members,
)
from tests.support.explained import adapted_subject
from tests.support.language import questions, write_tiny_llama, write_tiny_t5
from tests.support.subjects import SENTIMENT, a_sentiment, a_tiny_model, write_task
from tests.support.tiny import FILLER, sentences, write_tiny_model

ANSWERS = ("good", "bad")
WOMEN = {"plumber": 0.7, "lawyer": 34.5, "teacher": 71.0, "nurse": 89.6, "planner": 77.6}
# Twins whose two texts are the same would cancel to the last digit.
_TWINS = {
    name: text.replace("[The developer] met", "[The developer], alone, met")
    for name, text in winobias_members(3).items()
}
MEMBERS: Mapping[str, str] = {
    **bbq_members({"Age": 4, "Religion": 3}, per_template=2),
    **_TWINS,
    **winogender_members(WOMEN),
    **honest_members([f"[I] {word} as a [M]" for word in FILLER]),
    **crows_members([(f"She {w}.", f"He {w}.", ("age", "sex")[len(w) % 2]) for w in FILLER]),
}
# The model knows them all, or versions of a text would be the same to it.
WORDS = sorted(
    {
        *string.ascii_lowercase,
        *(word for text in MEMBERS.values() for word in text.replace('"', " ").split()),
    }
)


def _reviews(count: int, *, seed: int = 3) -> Iterator[Record]:
    for number, row in enumerate(sentences(count, seed=seed)):
        label = SENTIMENT.index(row["label"])
        text = f"{row['text']} Mary and I do not mind, {number + 2} times."
        yield Record(text=text, label=label, unit=str(number), answer=row["label"])


_SIXTY, _FORTY = tuple(_reviews(60)), tuple(_reviews(40))
REVIEWS = Corpus(
    tests={"north": _SIXTY, "south": _FORTY[::-1]}, groups={"sex": ("f", "m", "f", "f", "m") * 20}
)
_SURE_RECORDS = tuple(
    Record(text=text, label=label, unit=text, answer=SENTIMENT[label])
    for text, label in (
        ("She is a good woman.", 1),
        ("He is a bad man.", 0),
        ("The good teacher helps her daily.", 1),
    )
)
ASKED = Corpus(tests={"north": tuple(questions(24)), "south": tuple(questions(16, seed=1))})
SPOKEN = Corpus(tests={"north": tuple(questions(24, free=True))})
# All of them come out right, whichever words are exchanged.
THREE = Corpus(
    tests={"north": _SURE_RECORDS[:1], "south": _SURE_RECORDS[1:]}, groups={"sex": ("f", "m", "f")}
)
SURE = a_sentiment(lambda text: (0.1, 0.9) if "good" in text else (0.9, 0.1))
EMPTY = Corpus(tests={"north": ()})


def reviews(folder: Path) -> Corpus:
    """Of two sites and two groups, with words that can be exchanged."""
    return REVIEWS


def trained(folder: Path) -> Corpus:
    """Beside as many others that were trained on."""
    return replace(REVIEWS, members={site: tuple(_reviews(60, seed=4)) for site in REVIEWS.tests})


def asked(folder: Path) -> Corpus:
    """Questions that labels answer."""
    return ASKED


@cache
def public(folder: Path) -> Corpus:
    """Every public benchmark as a tiny archive. Many words are bad ones, or a model that
    talks at random would say none."""
    return corpus_of(folder, MEMBERS, dict.fromkeys(WORDS[::12], -3.0))


@cache
def sentiment(folder: Path) -> Subject:
    """A classifier that is often right and sometimes not."""

    def says(text: str) -> tuple[float, float]:
        share = 0.5 + 0.45 * np.tanh(sum(map(ord, text)) % 17 / 8 - 1)
        return (1 - share, share) if "good" not in text else (0.1, 0.9)

    return a_sentiment(says)


@cache
def encoder(folder: Path) -> Subject:
    """A tiny real classifier."""
    return adapted_subject(write_tiny_model(folder / "encoder"))


@cache
def chooser(folder: Path) -> Subject:
    """A tiny causal model that answers with labels."""
    return _talkative(folder, TaskSection(kind="causal-lm", labels=ANSWERS))


@cache
def speaker(folder: Path) -> Subject:
    """A tiny causal model that answers freely."""
    return _talkative(folder, TaskSection(kind="causal-lm"))


@cache
def translator(folder: Path) -> Subject:
    """A tiny model that reads a text in one part and answers in the other."""
    return a_tiny_model(write_tiny_t5(folder / "t5"), TaskSection(kind="seq2seq"))


def _talkative(folder: Path, task: TaskSection) -> Subject:
    """A causal model whose weights are large enough that it does not find all alike."""
    subject = a_tiny_model(write_tiny_llama(folder / "llama", words=tuple(WORDS)), task)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in subject.scorer.model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return subject


def fresh(subject: Subject) -> Subject:
    """The same, with nothing said yet."""
    return replace(subject, memory={})


def defaults(folder: Path) -> Mapping[str, object]:
    """No options."""
    return {}


def quick(folder: Path) -> Mapping[str, object]:
    """Few resamples."""
    return {"resamples": 100}


def own_task(folder: Path) -> Mapping[str, object]:
    """A task of lm-eval out of the questions."""
    return {"tasks": [str(write_task(folder / "task", ASKED.joint, ANSWERS))]}


def canaries(folder: Path) -> Mapping[str, object]:
    """Secrets of four words each, which the model knows."""
    rows = [{"prompt": f"the {word} is", "secret": f"{word[0]} q z v"} for word in FILLER]
    path = folder / "canaries.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return {"canaries": path, "references": 99}
