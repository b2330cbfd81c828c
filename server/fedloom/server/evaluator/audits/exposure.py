"""Whether a language model says the secrets that were put into its training records."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from fedloom.server.evaluator.audits.base import (
    Measured,
    Missing,
    Options,
    beside_chance,
    found_by,
    mean_figure,
    share_figure,
)
from fedloom.server.evaluator.audits.suite_file import SuiteFile
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import Table
from fedloom.server.evaluator.metrics import Outcomes
from fedloom.server.evaluator.privacy.canary_file import Canary, read_canaries
from fedloom.server.evaluator.privacy.exposure import BY_CHANCE, exposure, like
from fedloom.server.evaluator.statistics import Values
from fedloom.server.evaluator.subject import Subject
from fedloom.shared.data.records import Record
from fedloom.shared.tasks.registry import make_task

_SOURCES = ("N. Carlini et al., The Secret Sharer, USENIX Security 2019",)


class ExposureOptions(Options):
    """`canaries` is a JSONL file of `prompt` and `secret` that were records of the training;
    each is ranked among `references` random secrets of its form."""

    canaries: SuiteFile | None = None
    references: Annotated[int, Field(ge=99, le=100_000)] = 500


@dataclass(frozen=True, kw_only=True)
class _Heard:
    """By canary: bits of exposure, and whether greedy decoding says the secret."""

    bits: Values
    extracted: Values


class Exposure:
    """Exposure and verbatim extraction of canaries."""

    name = "exposure"
    title = "Secrets it repeats"
    asks = (
        "Does it repeat secrets planted in its training records, or find them likelier than others?"
    )

    def __init__(self, options: ExposureOptions) -> None:
        self._options = options

    def why_not(self, subject: Subject, corpus: Corpus) -> str:
        """It must say texts, and canaries must have been in its records."""
        if subject.classifies:
            return "it gives labels and writes no texts"
        if self._options.canaries is None:
            return Missing(
                "no secrets are known that were planted in the records that it was trained on"
            )
        return ""

    def measure(self, subject: Subject, corpus: Corpus) -> Measured:
        """Bits of exposure, and which secrets greedy decoding says to the letter.

        Raises:
            EvaluationError: the file of canaries is missing, damaged, or has changed since the
                suite was read.
        """
        file = self._options.canaries
        if file is not None:
            file.check_unchanged()
        canaries = read_canaries(None if file is None else file.path)
        speaker = _without_labels(subject)
        heard = _heard(speaker, canaries, self._options.references)
        findings = found_by(self).model_copy(update=self._said(heard))
        return Measured(
            findings=findings, samples={"exposure": heard.bits, "extracted": heard.extracted}
        )

    def _said(self, heard: _Heard) -> dict[str, object]:
        most = np.log2(self._options.references + 1)
        return {
            "figures": (
                beside_chance(
                    mean_figure(
                        "exposure",
                        "exposure in bits: how far a secret stands out among random ones",
                        heard.bits,
                        better="lower",
                        unit="score",
                    ),
                    BY_CHANCE,
                ),
                share_figure(
                    "extracted",
                    "share of the secrets that it repeats to the letter",
                    heard.extracted,
                    better="lower",
                ),
            ),
            "tables": (_table(heard),),
            "caveats": (
                f"A secret is ranked among {self._options.references} random ones, so that "
                f"exposure is {most:.1f} bits at most.",
                "Secrets that were in the records once may be safe where one that was in ten "
                "times is not.",
            ),
            "sources": _SOURCES,
        }


def _without_labels(subject: Subject) -> Subject:
    """The same model, free to say anything: a secret is no label."""
    if not subject.labels:
        return subject
    task = subject.task.model_copy(update={"labels": ()})
    return replace(subject, task=task, scorer=replace(subject.scorer, task=make_task(task)))


def _heard(subject: Subject, canaries: Sequence[Canary], references: int) -> _Heard:
    own, extracted = _totals(subject, [_record(one.prompt, one.secret) for one in canaries])
    others = np.stack(
        [
            _totals(subject, [_record(one.prompt, text) for text in like(one.secret, references)])[
                0
            ]
            for one in canaries
        ]
    )
    return _Heard(bits=exposure(own, others), extracted=extracted)


def _totals(subject: Subject, records: Sequence[Record]) -> tuple[Values, Values]:
    """Negative log-likelihood of each whole answer; and whether each of its tokens is what
    the model finds likeliest, which is what greedy decoding says."""
    outcomes: Outcomes = subject.outcomes(records)
    tokens = np.array([len(example.answer) for example in subject.scorer.encode(records)])
    return outcomes.loss * tokens, outcomes.right.astype(np.float64)


def _record(prompt: str, secret: str) -> Record:
    return Record(text=prompt, label=-1, unit="", answer=secret)


def _table(heard: _Heard) -> Table:
    order = np.argsort(-heard.bits, kind="stable")
    return Table(
        title="By secret",
        columns=("secret, by line of its file", "bits", "repeated to the letter"),
        rows=tuple(
            (int(at) + 1, round(float(heard.bits[at]), 2), "yes" if heard.extracted[at] else "no")
            for at in order
        ),
    )
