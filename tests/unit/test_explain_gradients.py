"""Integrated gradients against sums done by hand; attention against transformers' own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel

from fedloom.server.evaluator.explain.attention import attention_view
from fedloom.server.evaluator.explain.gradients import integrated_gradients
from fedloom.server.evaluator.explain.words import WordedText, read_words
from fedloom.server.evaluator.subject import Subject
from fedloom.shared.errors import EvaluationError
from fedloom.shared.tasks.base import Example
from tests.support.explained import BagOfWords, adapted_subject, bag_subject, planted_subject
from tests.support.language import write_tiny_llama
from tests.support.tiny import (
    sentences,
    write_tiny_distilbert,
    write_tiny_model,
    write_tiny_roberta,
)

TEXTS = [row["text"] for row in sentences(8, seed=0)]
WRITERS = {
    "bert": (write_tiny_model, ("query", "value")),
    "roberta": (write_tiny_roberta, ("query", "value")),
    "distilbert": (write_tiny_distilbert, ("q_lin", "v_lin")),
}


def read(subject: Subject, texts: list[str]) -> tuple[list[WordedText], list[int]]:
    return read_words(subject.scorer, texts), subject.classify(texts).argmax(axis=1).tolist()


def test_of_a_bag_of_words_each_weight_times_embedding(tmp_path: Path) -> None:
    subject = bag_subject(tmp_path)
    texts, labels = read(subject, TEXTS)
    found = integrated_gradients(subject.scorer, texts, labels, steps=4)
    model = subject.scorer.model
    assert isinstance(model, BagOfWords)
    weight = model.head.weight.detach().numpy()
    embedding = model.embedding.weight.detach().numpy()
    for text, label, one in zip(texts, labels, found, strict=True):
        expected = np.zeros(len(text.words))
        for token, owner in zip(text.tokens, text.owners, strict=True):
            if owner >= 0:
                expected[owner] += (weight[label] - weight[1 - label]) @ embedding[token]
        np.testing.assert_allclose(one.words, expected / len(text.tokens), atol=1e-6)
        # Special tokens are in the baseline as well.
        assert one.others == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "model"])
@pytest.mark.parametrize("kind", WRITERS)
def test_attributions_add_up_to_the_difference(tmp_path: Path, kind: str, pooling: str) -> None:
    """RoBERTa counts positions from its ids, of which a baseline of padding has none."""
    write, targets = WRITERS[kind]
    write(tmp_path)
    subject = adapted_subject(tmp_path, pooling=pooling, targets=targets)
    texts, labels = read(subject, TEXTS)
    found = integrated_gradients(subject.scorer, texts, labels, steps=64)
    whole = np.array([one.difference for one in found])
    assert np.abs(whole).mean() > 0.1
    assert np.abs([one.gap for one in found]).mean() <= 0.05 * np.abs(whole).mean()
    # More steps, a smaller gap: what is left is the integral's.
    few = integrated_gradients(subject.scorer, texts, labels, steps=2)
    assert np.abs([one.gap for one in few]).sum() > np.abs([one.gap for one in found]).sum()


def test_the_batch_does_not_matter(tmp_path: Path) -> None:
    write_tiny_model(tmp_path)
    subject = adapted_subject(tmp_path)
    texts, labels = read(subject, TEXTS)
    together = integrated_gradients(subject.scorer, texts, labels, steps=8)
    for text, label, one in zip(texts, labels, together, strict=True):
        [alone] = integrated_gradients(subject.scorer, [text], [label], steps=8)
        np.testing.assert_allclose(one.words, alone.words, atol=1e-4)


def test_the_word_that_decides_has_most(tmp_path: Path) -> None:
    subject = planted_subject(tmp_path, {"superb": 20.0, "plot": -1.0}, bias=-0.5)
    texts, labels = read(subject, ["the plot was superb and quite fine"])
    [found] = integrated_gradients(subject.scorer, texts, labels, steps=4)
    assert (labels, texts[0].words[found.order[0]]) == ([1], "superb")
    assert texts[0].words[found.order[-1]] == "plot"


def test_a_gradient_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    subject = bag_subject(tmp_path)
    texts, labels = read(subject, TEXTS)
    with torch.no_grad():
        subject.scorer.model.get_parameter("head.weight")[0, 0] = float("nan")
    with pytest.raises(EvaluationError, match="not finite"):
        integrated_gradients(subject.scorer, texts, labels, steps=4)


@pytest.mark.parametrize("pooling", ["mean", "model"])
def test_attention_is_that_of_the_model(tmp_path: Path, pooling: str) -> None:
    write_tiny_model(tmp_path)
    subject = adapted_subject(tmp_path, pooling=pooling)
    [text] = read_words(subject.scorer, ["the film was good-bad"])
    view = attention_view(subject.scorer, text, mean=pooling == "mean")
    assert view is not None
    # A second model, since this way of asking leaves hooks in it.
    other = adapted_subject(tmp_path, pooling=pooling).scorer.model
    with torch.no_grad():
        ids = torch.tensor([text.tokens])
        given = other(input_ids=ids, attention_mask=ids * 0 + 1, output_attentions=True)
    layers = [layer[0].mean(dim=0).double().numpy() for layer in given.attentions]
    count = len(text.tokens)
    rows = range(count) if pooling == "mean" else [0]
    last = np.mean([layers[-1][row] for row in rows], axis=0)
    # The third to fifth tokens are pieces of one word.
    assert text.owners == (-1, 0, 1, 2, 3, 3, 3, -1)
    expected = [last[1], last[2], last[3], last[4] + last[5] + last[6]]
    np.testing.assert_allclose(view.last, expected, rtol=1e-4)
    first, second = [(layer + np.eye(count)) / 2 for layer in layers]
    rolled = [
        np.mean([sum(second[row, via] * first[via, to] for via in range(count)) for row in rows])
        for to in range(count)
    ]
    np.testing.assert_allclose(view.rollout[0], rolled[1], rtol=1e-4)


def test_fused_attention_is_spelt_out_and_put_back(tmp_path: Path) -> None:
    write_tiny_model(tmp_path)
    subject = adapted_subject(tmp_path)
    [text] = read_words(subject.scorer, ["the film was good"])
    eager = attention_view(subject.scorer, text, mean=True)
    inner = subject.scorer.model.get_base_model()  # type: ignore[operator]
    inner.set_attn_implementation("sdpa")
    fused = attention_view(subject.scorer, text, mean=True)
    assert eager is not None and fused is not None
    np.testing.assert_array_equal(eager.last, fused.last)
    assert inner.config._attn_implementation == "sdpa"


def test_what_reads_from_left_to_right_is_read_at_its_end(tmp_path: Path) -> None:
    write_tiny_llama(tmp_path)
    subject = adapted_subject(tmp_path, pooling="model")
    assert isinstance(subject.scorer.model, PeftModel)
    subject.scorer.model.config.pad_token_id = 0
    [text] = read_words(subject.scorer, ["the film was good"])
    view = attention_view(subject.scorer, text, mean=False)
    assert view is not None
    # The first token sees itself alone; read there, it would have all of the attention.
    assert (view.last > 0).all()
    assert view.last.sum() == pytest.approx(1.0)


def test_a_model_without_attention_has_no_view(tmp_path: Path) -> None:
    subject = bag_subject(tmp_path)
    [text] = read_words(subject.scorer, ["the film"])
    assert attention_view(subject.scorer, text, mean=True) is None


def test_the_tokens_read_are_those_of_the_task(tmp_path: Path) -> None:
    write_tiny_model(tmp_path)
    subject = adapted_subject(tmp_path)
    texts, _ = read(subject, TEXTS)
    examples = [Example(tokens=text.tokens, label=0) for text in texts]
    np.testing.assert_allclose(
        subject.scorer.outcomes(examples).loss,
        -np.log(subject.classify(TEXTS)[:, 0]),
        rtol=1e-5,
    )
