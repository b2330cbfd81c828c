"""One adapter on its base model, as audits see it.

Everything runs in inference mode, sorted by length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedloom.server.evaluator.evaluation import SubjectKind
from fedloom.server.evaluator.likelihood import (
    Likelihoods,
    label_likelihoods,
    likelihoods,
    say,
)
from fedloom.server.evaluator.metrics import Outcomes
from fedloom.server.evaluator.scorer import Scorer
from fedloom.shared.adapter import Adapter
from fedloom.shared.config.sections import TaskSection
from fedloom.shared.data.records import Record
from fedloom.shared.errors import BrokenModelError, EvaluationError


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An adapter to be evaluated. `epsilon` is each site's promise, None without privacy."""

    name: str
    kind: SubjectKind
    description: str
    adapter: Adapter
    epsilon: float | None = None


# What was said to records.
Memory = dict[tuple[Record, ...], Outcomes]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A candidate while its values are in the model. `memory` holds what it said already: several
    audits ask the same of the same records, which is most of what an evaluation costs."""

    candidate: Candidate
    task: TaskSection
    scorer: Scorer
    memory: Memory = field(default_factory=dict)

    @property
    def classifies(self) -> bool:
        """Whether it gives one label to each text with a head of its own."""
        return self.task.kind == "classification"

    @property
    def causal(self) -> bool:
        """Whether it continues texts, from left to right."""
        return self.task.kind == "causal-lm"

    @property
    def labels(self) -> tuple[str, ...]:
        """The label set, empty for free answers."""
        return self.task.labels

    def outcomes(self, records: Sequence[Record]) -> Outcomes:
        """What the model says to labelled records, in their order; asked once for the same
        records.

        Raises:
            BrokenModelError: it says something that is no number.
        """
        key = tuple(records)
        if key not in self.memory:
            self.memory[key] = self._outcomes(key)
        return self.memory[key]

    def _outcomes(self, records: Sequence[Record]) -> Outcomes:
        found = self.scorer.outcomes(self.scorer.encode(records))
        if not np.isfinite(found.loss).all():
            raise BrokenModelError(
                f"{self.candidate.name}: the model's answers are not finite (NaN or infinite "
                "logits), expected numbers; nothing can be measured"
            )
        return found

    def classify(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Class probabilities of texts, shape (n, labels).

        Raises:
            EvaluationError: there is no label set.
            BrokenModelError: an answer is no number.
        """
        answer = self.labels[0] if self.labels else ""
        records = [Record(text=text, label=0, unit="", answer=answer) for text in texts]
        found = self.outcomes(records).probabilities
        if found is None:
            raise EvaluationError(f"{self.candidate.name}: no label set, expected task.labels")
        if not np.isfinite(found).all():
            raise BrokenModelError(f"{self.candidate.name}: probabilities that are not finite")
        return found

    def answer_tokens(self, records: Sequence[Record]) -> NDArray[np.int64]:
        """How many tokens each record's answer has, as far as they are read; shape (n,)."""
        return np.array([len(example.answer) for example in self.scorer.encode(records)])

    def at_limit(self, records: Sequence[Record]) -> NDArray[np.bool_]:
        """Whether question and answer fill all tokens that the model reads, so that a longer one
        would be cut; shape (n,)."""
        limit = min(self.scorer.max_length, self.scorer.tokenizer.model_max_length)
        return np.array([len(one.tokens) >= limit for one in self.scorer.encode(records)])

    def label_likelihoods(self, records: Sequence[Record]) -> NDArray[np.float64]:
        """Log-likelihood in nats of each label as the answer to each record, in the model's own
        chat template if it has one, shape (n, labels).

        Raises:
            EvaluationError: the model does not answer with labels in words.
            BrokenModelError: it says no numbers.
        """
        return label_likelihoods(self.scorer, records)

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> Likelihoods:
        """Log-likelihood of each continuation after its prompt, both as plain text.

        Raises:
            EvaluationError: the model is no causal language model.
            BrokenModelError: it says no numbers.
        """
        self._must_be_causal()
        return likelihoods(self.scorer, pairs)

    def say(self, prompts: Sequence[str], *, tokens: int) -> list[str]:
        """What greedy decoding says after each prompt, at most `tokens` tokens.

        Raises:
            EvaluationError: the model is no causal language model.
            BrokenModelError: it says no numbers.
        """
        self._must_be_causal()
        return say(self.scorer, prompts, tokens=tokens)

    def _must_be_causal(self) -> None:
        if not self.causal:
            raise EvaluationError(
                f"{self.candidate.name}: task {self.task.kind}, expected a causal language model"
            )
