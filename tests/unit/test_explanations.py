"""The audit of explanations on tiny models: what it finds, and that it leaves no trace."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fedloom.server.evaluator.audits.base import Measured
from fedloom.server.evaluator.audits.explanations import Explanations, ExplanationsOptions
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import Figure
from fedloom.server.evaluator.subject import Subject
from fedloom.shared.config.sections import TaskSection
from fedloom.shared.data.records import Record
from fedloom.shared.errors import EvaluationError
from tests.support.explained import LABELS, adapted_subject, bag_subject, planted_subject
from tests.support.tiny import GOOD, sentences, write_tiny_model

WEIGHTS = {word: 60.0 for word in GOOD}


def corpus_of(texts: list[tuple[str, str]]) -> Corpus:
    records = (Record(text=text, label=LABELS.index(of), unit="") for text, of in texts)
    return Corpus(tests={"site": tuple(records)})


def some(count: int = 12) -> Corpus:
    return corpus_of([(row["text"], row["label"]) for row in sentences(count, seed=0)])


def measured(subject: Subject, corpus: Corpus, **options: int) -> Measured:
    return Explanations(ExplanationsOptions(**options)).measure(subject, corpus)


def figures(found: Measured) -> dict[str, Figure]:
    return {figure.key: figure for figure in found.findings.figures}


def test_a_planted_word_is_found_and_its_removal_is_the_smallest_edit(tmp_path: Path) -> None:
    subject = planted_subject(tmp_path, WEIGHTS, bias=-1.0)
    positive = [(f"the {'film ' * (at + 6)}was {word}", "positive") for at, word in enumerate(GOOD)]
    found = measured(subject, corpus_of(positive))
    by_key = figures(found)
    assert by_key["edits_needed"].value == 1
    assert by_key["edits_found"].value == 1
    assert by_key["comprehensiveness"].value > 0.6
    assert by_key["comprehensiveness_gain"].low is not None
    assert by_key["comprehensiveness_gain"].low > 0
    assert by_key["completeness_gap"].value < 1e-4
    for example in found.findings.shown:
        [decides] = [span.text for span in example.spans if span.weight == 1.0]
        assert decides in GOOD
        told = dict(example.facts)
        assert told["smallest removal that changes the answer"] == f"{decides} (then negative)"


def test_the_mean_of_each_sample_is_its_figure(tmp_path: Path) -> None:
    write_tiny_model(tmp_path)
    found = measured(adapted_subject(tmp_path), some())
    for key, values in found.samples.items():
        assert values.mean() == pytest.approx(figures(found)[key].value)
    [table] = found.findings.tables
    assert [row[1] for row in table.rows] == [values.mean() for values in found.samples.values()]


def trace(model: torch.nn.Module) -> list[object]:
    inner = model.get_base_model()  # type: ignore[operator]
    return [
        [
            (n, p.requires_grad, p.grad, p.detach().numpy().tobytes())
            for n, p in model.named_parameters()
        ],
        [
            (name, len(module._forward_hooks), len(module._forward_pre_hooks), module.training)
            for name, module in model.named_modules()
        ],
        [len(module._backward_hooks) for module in model.modules()],
        json.dumps(inner.config.to_dict(), default=str, sort_keys=True),
        inner.config._attn_implementation,
        {name for module in model.modules() for name in vars(module)},
    ]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("pooling", ["mean", "model"])
def test_no_trace_is_left_and_all_is_the_same_again(
    tmp_path: Path, pooling: str, attention: str
) -> None:
    write_tiny_model(tmp_path)
    subject = adapted_subject(tmp_path, pooling=pooling)
    model = subject.scorer.model
    model.get_base_model().set_attn_implementation(attention)  # type: ignore[operator]
    before = trace(model)
    state = torch.random.get_rng_state()
    first = measured(subject, some())
    assert str(trace(model)) == str(before)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert measured(subject, some()).findings == first.findings
    assert {fact for fact, _ in first.findings.shown[0].facts} >= {"attention, last layer"}


def test_examples_show_the_whole_text_with_weights_of_what_was_read(tmp_path: Path) -> None:
    write_tiny_model(tmp_path)
    long = "the film was good and " * 12
    found = measured(
        adapted_subject(tmp_path), corpus_of([(long, "positive"), ("fine", "negative")])
    )
    for example in found.findings.shown:
        text = "".join(span.text for span in example.spans)
        assert text in (long, "fine")
        weights = [span.weight for span in example.spans if span.weight is not None]
        assert max(map(abs, weights)) == 1.0
        if text == long:
            assert len(weights) == 22
            assert example.spans[-1].weight is None
            assert len(example.spans[-1].text) > 100


def test_the_chart_begins_with_the_whole_text_and_ends_with_none_of_it(tmp_path: Path) -> None:
    write_tiny_model(tmp_path)
    subject = adapted_subject(tmp_path)
    corpus = some()
    [chart] = measured(subject, corpus).findings.charts
    ours, chance = chart.series
    whole = subject.classify([record.text for record in corpus.joint])
    assert ours.y[0] == pytest.approx(whole.max(axis=1).mean(), abs=1e-5)
    nothing = subject.classify([""])[0]
    assert ours.y[-1] == pytest.approx(nothing[whole.argmax(axis=1)].mean(), abs=1e-5)
    assert (ours.y[0], ours.y[-1]) == (chance.y[0], chance.y[-1])


def test_a_model_that_says_the_same_to_everything_is_told_as_it_is(tmp_path: Path) -> None:
    subject = planted_subject(tmp_path, {}, bias=1.0)
    by_key = figures(measured(subject, some()))
    assert by_key["comprehensiveness"].value == 0
    assert by_key["completeness_gap"].value == 0
    assert (by_key["edits_needed"].value, by_key["edits_found"].value) == (4, 0)


def test_answers_that_are_no_numbers_are_one_clear_line(tmp_path: Path) -> None:
    subject = bag_subject(tmp_path)
    with torch.no_grad():
        subject.scorer.model.get_parameter("head.bias")[0] = float("nan")
    with pytest.raises(EvaluationError, match="not finite"):
        measured(subject, some())


def test_records_without_a_word_are_left_out(tmp_path: Path) -> None:
    subject = bag_subject(tmp_path)
    found = measured(subject, corpus_of([(" ", "positive"), ("good film", "positive")]))
    assert figures(found)["comprehensiveness"].records == 1
    with pytest.raises(EvaluationError, match="no record has a word"):
        measured(subject, corpus_of([(" ", "positive")]))


def test_what_it_does_not_apply_to(tmp_path: Path) -> None:
    subject = bag_subject(tmp_path)
    audit = Explanations(ExplanationsOptions())
    assert audit.why_not(subject, some()) == ""
    assert "labelled records" in audit.why_not(subject, Corpus(tests={}))
    causal = replace(subject, task=TaskSection(kind="causal-lm", labels=LABELS))
    assert "classifier" in audit.why_not(causal, some())
