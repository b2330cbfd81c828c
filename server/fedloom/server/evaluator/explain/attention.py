"""Where a model looks: attention of its last layer, and rolled out over all layers.

What a model looks at need not be what decides (Jain and Wallace 2019): a view, no explanation.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from transformers import PreTrainedModel

from fedloom.server.evaluator.explain.words import NOBODY, WordedText
from fedloom.server.evaluator.scorer import Scorer
from fedloom.shared.tasks.base import Example, device_of

Weights = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class AttentionView:
    """The share of attention that each of n words gets, shape (n,); special tokens have the rest.

    `last` is that of the last layer, the mean over heads, from the place that the answer is read
    off; `rollout` follows it through all layers (Abnar and Zuidema 2020).
    """

    last: Weights
    rollout: Weights


def attention_view(scorer: Scorer, text: WordedText, *, mean: bool) -> AttentionView | None:
    """The view of one text; None where the model does not show its attention.

    With `mean` the answer is the mean over all tokens; otherwise it is read off the first, or
    off the last where no token sees what follows it. A model that computes attention without
    its weights is made to compute them for this once.
    """
    layers = _attention(scorer, text)
    if not layers:
        return None
    pooled = np.full(len(text.tokens), 1.0 / len(text.tokens)) if mean else _place(layers[-1])
    return AttentionView(
        last=_by_word(text, pooled @ layers[-1]), rollout=_by_word(text, pooled @ _rollout(layers))
    )


def _place(last: Weights) -> Weights:
    """One at the token that a head reads."""
    causal = last.shape[0] > 1 and not np.triu(last, k=1).any()
    found: Weights = np.eye(last.shape[0])[-1 if causal else 0]
    return found


def _rollout(layers: Sequence[Weights]) -> Weights:
    """Each layer passes on half of what it attends to and half of its own token."""
    unit = np.eye(layers[0].shape[0])
    rolled = unit
    for layer in layers:
        rolled = (layer + unit) / 2 @ rolled
    return rolled


def _by_word(text: WordedText, by_token: Weights) -> Weights:
    owners = np.array(text.owners)
    mine = owners != NOBODY
    found = np.bincount(owners[mine], weights=by_token[mine], minlength=len(text.words))
    return found.astype(np.float64)


def _attention(scorer: Scorer, text: WordedText) -> list[Weights]:
    """Attention of each layer, mean over heads, shape (tokens, tokens); empty if not shown."""
    batch = scorer.task.collate([Example(tokens=text.tokens, label=0)], scorer.tokenizer)
    real = batch.inputs["attention_mask"][0].bool().numpy()
    inputs = batch.to(device_of(scorer.model)).inputs
    with _spelt_out(scorer.model), _seen(scorer.model) as seen, torch.inference_mode():
        scorer.model(**inputs)
    means = [weights[0].double().mean(dim=0).cpu().numpy() for weights in seen]
    whole = [layer[np.ix_(real, real)] for layer in means if layer.shape == (real.size, real.size)]
    return [layer for layer in whole if np.allclose(layer.sum(axis=1), 1.0, atol=1e-3)]


@contextmanager
def _seen(model: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """All attention weights while this is open, in the order of layers.

    Transformers' own `output_attentions` leaves hooks in the model for good.
    """
    seen: list[torch.Tensor] = []

    def look(_: torch.nn.Module, __: object, output: object) -> None:
        weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
        if not isinstance(weights, torch.Tensor) or weights.ndim != 4:
            return
        # A module and the one around it hand on the same weights.
        if not any(weights is other for other in seen):
            seen.append(weights)

    hooks = [module.register_forward_hook(look) for module in model.modules()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _spelt_out(model: torch.nn.Module) -> Iterator[None]:
    """Attention computed with its weights, which fused kernels never have."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    if not isinstance(inner, PreTrainedModel):
        yield
        return
    kind = inner.config._attn_implementation
    inner.set_attn_implementation("eager")
    try:
        yield
    finally:
        inner.set_attn_implementation(kind)
