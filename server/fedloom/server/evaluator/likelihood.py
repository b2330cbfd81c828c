"""What a causal language model makes of plain text: likelihoods and greedy continuations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from fedloom.server.evaluator.scorer import Scorer
from fedloom.shared.data.records import Record
from fedloom.shared.errors import BrokenModelError, EvaluationError
from fedloom.shared.tasks.base import Example, device_of
from fedloom.shared.tasks.causal import CausalForm
from fedloom.shared.tasks.generation import NO_TOKEN, Generation
from fedloom.shared.tasks.rendering import Rendered

_FORM = CausalForm()


@dataclass(frozen=True, kw_only=True)
class Likelihoods:
    """`total` log-likelihood in nats and number of `tokens` of each continuation, shape (n,);
    `letters` counts its characters, for measures that must not depend on a tokenizer. `cut` says
    where both together were longer than what the model reads: of the prompt the end is left, of
    a continuation that is too long by itself the beginning."""

    total: NDArray[np.float64]
    tokens: NDArray[np.int64]
    letters: NDArray[np.int64]
    cut: NDArray[np.bool_]


def likelihoods(scorer: Scorer, pairs: Sequence[tuple[str, str]]) -> Likelihoods:
    """Of each (prompt, continuation); an empty prompt is the model's own beginning.

    Raises:
        EvaluationError: a continuation has no token.
        BrokenModelError: an answer is no number.
    """
    asked = _rendered(scorer, pairs)
    examples = _examples(scorer, asked)
    totals = np.zeros(len(examples))
    for rows in _by_length(examples, scorer.batch_size):
        totals[rows] = _totals(scorer, [examples[at] for at in rows])
    if not np.isfinite(totals).all():
        raise BrokenModelError("likelihoods: not finite (NaN or infinite logits)")
    return Likelihoods(
        total=totals,
        tokens=np.array([len(example.answer) for example in examples]),
        letters=np.array([len(continuation) for _, continuation in pairs]),
        cut=np.array([len(e.tokens) < _length(a) for e, a in zip(examples, asked, strict=True)]),
    )


def label_likelihoods(scorer: Scorer, records: Sequence[Record]) -> NDArray[np.float64]:
    """Of each label as the answer to each record, shape (n, labels), in nats.

    Raises:
        EvaluationError: the task has no labels in words.
        BrokenModelError: an answer is no number.
    """
    task = scorer.task
    if not isinstance(task, Generation) or not task.labels:
        raise EvaluationError("likelihoods of labels: a task without labels in words")
    examples = scorer.encode(records)
    found = np.zeros((len(examples), len(task.labels)))
    for rows in _by_length(examples, scorer.batch_size):
        with torch.inference_mode():
            logs = task.label_likelihoods(
                scorer.model, [examples[at] for at in rows], scorer.tokenizer
            )
        found[rows] = logs.double().numpy()
    if not np.isfinite(found).all():
        raise BrokenModelError("likelihoods: not finite (NaN or infinite logits)")
    return found


def say(scorer: Scorer, prompts: Sequence[str], *, tokens: int) -> list[str]:
    """Greedy continuations, without special tokens, in the order of `prompts`.

    Raises:
        BrokenModelError: an answer is no number.
    """
    examples = _examples(scorer, _rendered(scorer, [(prompt, ".") for prompt in prompts]))
    asked = [
        list(example.tokens[: len(example.tokens) - len(example.answer)]) for example in examples
    ]
    said = [""] * len(asked)
    order = sorted(range(len(asked)), key=lambda at: len(asked[at]))
    for start in range(0, len(order), scorer.batch_size):
        rows = order[start : start + scorer.batch_size]
        for at, text in zip(
            rows, _continued(scorer, [asked[at] for at in rows], tokens), strict=True
        ):
            said[at] = text
    return said


def _rendered(scorer: Scorer, pairs: Sequence[tuple[str, str]]) -> list[Rendered]:
    tokenizer = scorer.tokenizer
    prompts = tokenizer([prompt for prompt, _ in pairs])["input_ids"]
    answers = tokenizer([text for _, text in pairs], add_special_tokens=False)["input_ids"]
    if not all(answers):
        raise EvaluationError("likelihoods: a continuation of no token")
    return [
        Rendered(prompt=tuple(prompt), answer=tuple(answer))
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


def _examples(scorer: Scorer, asked: Sequence[Rendered]) -> list[Example]:
    limit = min(scorer.max_length, scorer.tokenizer.model_max_length)
    return [_FORM.example(one, label=-1, limit=limit) for one in asked]


def _length(asked: Rendered) -> int:
    """In tokens; a prompt has one at least."""
    return max(1, len(asked.prompt)) + len(asked.answer)


def _by_length(examples: Sequence[Example], size: int) -> Iterator[list[int]]:
    order = sorted(range(len(examples)), key=lambda at: examples[at].bucket)
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _totals(scorer: Scorer, examples: Sequence[Example]) -> NDArray[np.float64]:
    batch = _FORM.collate(examples, scorer.tokenizer).to(device_of(scorer.model))
    with torch.inference_mode():
        logits = _FORM.logits(scorer.model, batch).float()
        losses = cross_entropy(
            logits.transpose(1, 2), batch.labels, ignore_index=NO_TOKEN, reduction="none"
        )
    found: NDArray[np.float64] = -losses.sum(dim=1).double().cpu().numpy()
    return found


def _continued(scorer: Scorer, rows: list[list[int]], tokens: int) -> list[str]:
    width = max(map(len, rows))
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    real = torch.zeros_like(ids)
    for at, row in enumerate(rows):
        ids[at, width - len(row) :] = torch.tensor(row)
        real[at, width - len(row) :] = 1
    place = device_of(scorer.model)
    with torch.inference_mode():
        found = scorer.model.generate(  # type: ignore[operator]
            input_ids=ids.to(place),
            attention_mask=real.to(place),
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=0,
            logits_processor=[_finite],
        )
    said: list[str] = scorer.tokenizer.batch_decode(  # type: ignore[attr-defined]
        found[:, width:], skip_special_tokens=True
    )
    return said


def _finite(ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The same logits. The largest of NaNs is a token as any other, and would be said."""
    if bool((logits.isnan() | logits.isposinf()).any()):
        raise BrokenModelError("continuations: not finite (NaN or infinite logits)")
    return logits
