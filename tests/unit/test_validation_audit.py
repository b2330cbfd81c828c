"""Scores by class and site against scikit-learn, perplexity against the tokens one by one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support

from fedloom.server.evaluator.audits.perplexity import perplexity
from fedloom.server.evaluator.audits.validation import Validation, ValidationOptions
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import AuditFindings, Figure, Table
from fedloom.server.evaluator.statistics import share
from fedloom.server.evaluator.units import Units
from fedloom.shared.config.sections import TaskSection
from fedloom.shared.data.records import Record
from tests.support.language import questions, write_tiny_gpt2
from tests.support.subjects import a_classifier, a_sentiment, a_speaker, a_tiny_model

LABELS = ("a", "b", "c")
AUDIT = Validation(ValidationOptions(resamples=200))


def figures(findings: AuditFindings) -> dict[str, Figure]:
    return {figure.key: figure for figure in findings.figures}


def table(findings: AuditFindings, title: str) -> Table:
    return next(found for found in findings.tables if found.title == title)


def a_record(text: str, label: int, answer: str = "") -> Record:
    return Record(text=text, label=label, unit=text, answer=answer)


def says_class(text: str) -> list[float]:
    """A text `xc` of label x is called c, three times in four."""
    return [0.75 if name == text[1] else 0.125 for name in LABELS]


def corpus_of(*sites: str) -> Corpus:
    """Each word of a site, two letters, is a record: what it is, what it is called."""
    return Corpus(
        tests={
            f"site{number}": tuple(a_record(word, LABELS.index(word[0])) for word in site.split())
            for number, site in enumerate(sites)
        }
    )


@pytest.mark.parametrize("people", [1, 2])
def test_what_nothing_bounds_has_no_interval_of_one_patient(people: int) -> None:
    """Ten records of one patient had a log loss of 0.9 from 0.9 to 0.9; of two it is as it was."""
    words = ["aa", "ab", "bb", "aa", "ba", "ca", "cc", "aa", "bb", "ac"]
    records = tuple(
        Record(text=word, label=LABELS.index(word[0]), unit=f"patient {at % people}")
        for at, word in enumerate(words)
    )
    corpus = Corpus(tests={"one": records}, unit="patient")
    found = figures(AUDIT.measure(a_classifier(says_class, labels=LABELS), corpus).findings)
    loss, accuracy = found["log_loss"], found["accuracy"]
    assert (loss.low is None) == (loss.high is None) == (people == 1)
    assert ("no interval" in loss.words) == (people == 1)
    assert accuracy.low is not None and accuracy.high is not None
    assert accuracy.low < accuracy.value < accuracy.high


def test_the_table_by_class_is_scikit_learns() -> None:
    """Catches precision taken for recall, and support counted by what is called."""
    corpus = corpus_of("aa aa ab ba bb bb bc cc ca", "aa bb cb cc cc ac")
    found = AUDIT.measure(a_classifier(says_class, labels=LABELS), corpus).findings
    true = [record.label for record in corpus.joint]
    called = [LABELS.index(record.text[1]) for record in corpus.joint]
    reference = precision_recall_fscore_support(true, called)
    for row, precision, recall, f1, support in zip(
        table(found, "By label").rows, *reference, strict=True
    ):
        shown = [float(str(cell).split()[0]) for cell in row[1:4]]
        assert shown == pytest.approx([precision, recall, f1], abs=5e-4)
        assert row[4] == support
    assert figures(found)["accuracy"].value == pytest.approx(np.mean(np.equal(true, called)))


def test_the_worst_site_comes_first_with_wilsons_interval() -> None:
    """Catches records that are counted at another site."""
    corpus = corpus_of("aa bb cc ab", "ab bc ca aa", "aa bb cc ca")
    found = AUDIT.measure(a_classifier(says_class, labels=LABELS), corpus).findings
    rows = table(found, "By site").rows
    worst = share(1, 4)
    assert [row[0] for row in rows] == ["site1", "site0", "site2"]
    assert rows[0][1] == f"0.250 [{worst.low:.3f}, {worst.high:.3f}]"
    figure = figures(found)["worst_site"]
    assert (figure.value, figure.low, figure.high) == (worst.value, worst.low, worst.high)
    assert "site1" in figure.words and figure.records == 4


def test_one_site_has_no_worst() -> None:
    found = AUDIT.measure(a_classifier(says_class, labels=LABELS), corpus_of("aa bb"))
    assert "worst_site" not in figures(found.findings)


def test_one_class_alone_is_said_plainly_and_has_no_macro_f1() -> None:
    """Catches a macro-F1 of 0.5 for a model that is right everywhere."""
    corpus = Corpus(tests={"north": tuple(a_record(f"good {at}", 1) for at in range(9))})
    found = AUDIT.measure(a_sentiment(), corpus).findings
    assert figures(found)["accuracy"].value == 1
    assert "macro_f1" not in figures(found)
    assert found.caveats[0].startswith("All 9 records have the label positive: nothing can be")
    negative = table(found, "By label").rows[0]
    assert negative == ("negative", None, None, None, 0)
    assert table(found, "By site").rows[0][2] == "one label only"


def test_a_label_that_no_record_has_is_named() -> None:
    found = AUDIT.measure(a_classifier(says_class, labels=LABELS), corpus_of("aa bb ab")).findings
    assert found.caveats[0] == "No record has the label c; the mean F1 counts it as 0."
    assert figures(found)["macro_f1"].value == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)


def test_no_records_are_nothing_to_measure() -> None:
    assert "no labelled records" in AUDIT.why_not(a_sentiment(), Corpus(tests={"north": ()}))


def test_perplexity_is_that_of_all_tokens_one_by_one(tmp_path: Path) -> None:
    """Catches a mean over records, which counts a token of a short answer for more. The reference
    is the model's own loss at each token, without padding."""
    records = questions(12, free=True)
    subject = a_tiny_model(write_tiny_gpt2(tmp_path), TaskSection(kind="causal-lm"))
    found = AUDIT.measure(subject, Corpus(tests={"north": tuple(records)})).findings
    losses: list[float] = []
    for example in subject.scorer.encode(records):
        tokens = torch.tensor([example.tokens])
        with torch.inference_mode():
            logs = subject.scorer.model(input_ids=tokens).logits[0].log_softmax(dim=-1)
        places = range(len(example.tokens) - len(example.answer), len(example.tokens))
        losses += [-float(logs[at - 1, example.tokens[at]]) for at in places]
    perplexity_found = figures(found)["perplexity"]
    assert perplexity_found.value == pytest.approx(np.exp(np.mean(losses)), rel=1e-4)
    assert perplexity_found.records == 12
    assert "macro_f1" not in figures(found)


def test_tokens_of_one_record_are_not_resampled_alone() -> None:
    """Catches an interval over tokens: with few records of very many tokens it would be narrow."""
    generator = np.random.default_rng(0)
    loss, tokens = generator.normal(3, 1, size=20), np.full(20, 10_000)
    found = perplexity(loss, tokens, units=Units.apart(20), resamples=1000)
    assert found is not None
    width = np.log(found.high) - np.log(found.low)
    # Twice 1.96 standard errors of a mean of 20; of 200,000 tokens it would be a hundredth.
    assert width == pytest.approx(2 * 1.96 * loss.std() / np.sqrt(20), rel=0.15)


def test_a_perplexity_beyond_all_numbers_is_said_and_no_figure() -> None:
    """exp of 1000 nats is no number, and a figure takes none that is not finite."""
    records = tuple(a_record(text, -1, text) for text in ("a", "b", "c"))
    for nats in (1000.0, 709.5):
        subject = a_speaker(lambda prompt, answer, nats=nats: -nats - (prompt == "b"))
        findings = AUDIT.measure(subject, Corpus(tests={"north": records})).findings
        assert figures(findings)["log_loss"].value == pytest.approx(nats + 1 / 3)
        assert "perplexity" not in figures(findings)
        assert "is larger than any number" in findings.caveats[0]


def test_exact_match_is_what_decoding_gives() -> None:
    records = tuple(a_record(text, -1, text.upper()) for text in ("a b", "c", "d e f"))
    subject = a_speaker(lambda prompt, answer: -2.0, lambda prompt: prompt.upper()[:3])
    found = AUDIT.measure(subject, Corpus(tests={"north": records}))
    assert figures(found.findings)["exact_match"].value == pytest.approx(2 / 3)
    assert found.samples["exact_match"].tolist() == [1, 1, 0]
    # Two nats an answer, of two, one and three tokens.
    assert figures(found.findings)["log_loss"].value == pytest.approx((1 + 2 + 2 / 3) / 3)
    assert figures(found.findings)["perplexity"].value == pytest.approx(np.exp(6 / 6))


def test_the_same_records_are_asked_once() -> None:
    """Several audits share one pass over the test set; another adapter is asked anew."""
    asked: list[str] = []

    def says(text: str) -> tuple[float, float]:
        asked.append(text)
        return 0.4, 0.6

    corpus = Corpus(tests={"north": tuple(a_record(f"t{at}", at % 2) for at in range(6))})
    subject = a_sentiment(says)
    first = AUDIT.measure(subject, corpus)
    second = AUDIT.measure(subject, corpus)
    assert len(asked) == 6 and first.findings == second.findings
    AUDIT.measure(a_sentiment(says), corpus)
    assert len(asked) == 12
