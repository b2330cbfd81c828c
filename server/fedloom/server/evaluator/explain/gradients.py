"""Integrated gradients of each word (Sundararajan, Taly and Yan 2017), through captum."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fedloom.server.evaluator.explain.words import NOBODY, WordedText
from fedloom.server.evaluator.scorer import Scorer
from fedloom.shared.errors import EvaluationError
from fedloom.shared.tasks.base import Batch, Example, device_of
from fedloom.shared.tasks.classification import Classification


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """What each of n words adds to the log-odds of the predicted label, in nats, shape (n,).

    `others` is what tokens of no word add, and `difference` by how much the log-odds of the text
    exceed those of the baseline, to which all of these should add up.
    """

    words: NDArray[np.float64]
    others: float
    difference: float

    @property
    def gap(self) -> float:
        """By how much the sum misses the difference: the error of integrating in steps."""
        return float(self.words.sum() + self.others - self.difference)

    @property
    def order(self) -> tuple[int, ...]:
        """Words from the one that speaks most for the label to the one most against it."""
        return tuple(int(at) for at in np.argsort(-self.words, kind="stable"))


def integrated_gradients(
    scorer: Scorer, texts: Sequence[WordedText], labels: Sequence[int], *, steps: int
) -> list[Attribution]:
    """The attribution of each text to the label that the model gives it.

    The path goes from the same text with all tokens but the special ones made padding, in the
    space of token embeddings, over `steps` points of Gauss and Legendre. The model's parameters,
    configuration and hooks are afterwards as they were.

    Raises:
        EvaluationError: the model is no classifier, or a gradient is no number.
    """
    task = scorer.task
    if not isinstance(task, Classification):
        raise EvaluationError("integrated gradients: not a classifier, expected one")
    found: dict[int, Attribution] = {}
    order = sorted(range(len(texts)), key=lambda at: len(texts[at].tokens))
    size = max(1, scorer.batch_size // steps)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        part = _Part(scorer, task, [texts[at] for at in rows], [labels[at] for at in rows])
        found.update(zip(rows, part.attributions(steps), strict=True))
    return [found[at] for at in range(len(texts))]


class _Part:
    """A few texts of similar length, with what their path needs."""

    def __init__(
        self,
        scorer: Scorer,
        task: Classification,
        texts: Sequence[WordedText],
        labels: Sequence[int],
    ) -> None:
        self._model, self._task, self._texts = scorer.model, task, texts
        examples = [
            Example(tokens=text.tokens, label=label)
            for text, label in zip(texts, labels, strict=True)
        ]
        place = device_of(scorer.model)
        self._batch = task.collate(examples, scorer.tokenizer).to(place)
        # Rows that are shorter than the longest may be padded at either end.
        self._real = self._batch.inputs["attention_mask"].cpu().numpy().astype(bool)
        self._baseline = self._padded(scorer).to(place)
        self._layer: torch.nn.Module = scorer.model.get_input_embeddings()  # type: ignore[operator]

    def attributions(self, steps: int) -> Iterator[Attribution]:
        """One for each text."""
        from captum.attr import LayerIntegratedGradients

        ids = self._batch.inputs["input_ids"]
        rest = tuple(value for name, value in self._batch.inputs.items() if name != "input_ids")
        gradients = LayerIntegratedGradients(self._log_odds, self._layer).attribute(
            ids,
            self._baseline,
            additional_forward_args=(*rest, self._batch.labels),
            n_steps=steps,
            method="gausslegendre",
        )
        by_token = gradients.detach().double().sum(dim=-1).cpu().numpy()
        differences = self._differences()
        if not (np.isfinite(by_token).all() and np.isfinite(differences).all()):
            raise EvaluationError(
                "integrated gradients: not finite (NaN or infinite gradients), expected numbers"
            )
        for row, text in enumerate(self._texts):
            yield _merged(text, by_token[row, self._real[row]], float(differences[row]))

    def _log_odds(self, ids: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        """Of each row's label against all others, shape (batch,): with two labels the difference
        of their logits, and never flat where a probability is."""
        names = [name for name in self._batch.inputs if name != "input_ids"]
        *values, labels = rest
        inputs = {"input_ids": ids, **dict(zip(names, values, strict=True))}
        logits = self._task.logits(self._model, Batch(inputs=inputs, labels=labels))
        own = torch.nn.functional.one_hot(labels, logits.shape[1]).bool()
        return logits[own] - logits.masked_fill(own, -torch.inf).logsumexp(dim=1)

    def _differences(self) -> NDArray[np.float64]:
        ids, labels = self._batch.inputs["input_ids"], self._batch.labels
        rest = [value for name, value in self._batch.inputs.items() if name != "input_ids"]
        with torch.no_grad():
            there = self._log_odds(ids, *rest, labels)
            # Positions and pooling stay those of the text: some models read them off its ids.
            with _replaced(self._layer, self._layer(self._baseline)):
                here = self._log_odds(ids, *rest, labels)
        found: NDArray[np.float64] = (there - here).double().cpu().numpy()
        return found

    def _padded(self, scorer: Scorer) -> torch.Tensor:
        """The ids with all but special tokens made padding."""
        baseline = self._batch.inputs["input_ids"].cpu().clone()
        padding = int(getattr(scorer.tokenizer, "pad_token_id", None) or 0)
        for row, text in enumerate(self._texts):
            words = np.zeros_like(self._real[row])
            words[self._real[row]] = ~np.array(text.special)
            baseline[row, torch.from_numpy(words)] = padding
        return baseline


@contextmanager
def _replaced(layer: torch.nn.Module, value: torch.Tensor) -> Iterator[None]:
    hook = layer.register_forward_hook(lambda *_: value)
    try:
        yield
    finally:
        hook.remove()


def _merged(text: WordedText, by_token: NDArray[np.float64], difference: float) -> Attribution:
    """The pieces of each word added up."""
    owners = np.array(text.owners)
    mine = owners != NOBODY
    words = np.bincount(owners[mine], weights=by_token[mine], minlength=len(text.words))
    return Attribution(
        words=words.astype(np.float64), others=float(by_token[~mine].sum()), difference=difference
    )
