"""HONEST's templates and CrowS-Pairs: scores by hand, biased models, fair ones, and a real one."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fedloom.server.evaluator.audits.base import Measured
from fedloom.server.evaluator.audits.crows import Crows, CrowsOptions
from fedloom.server.evaluator.audits.honest import Honest, HonestOptions
from fedloom.server.evaluator.audits.registry import AUDITS
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.scorer import Scorer
from fedloom.server.evaluator.statistics import BALANCE, SHARE, mean
from fedloom.server.evaluator.subject import Candidate, Subject
from fedloom.shared.adapter import Adapter
from fedloom.shared.tasks.registry import make_task
from tests.support.benchmarks import (
    CAUSAL,
    bbq_members,
    corpus_of,
    crows_members,
    honest_members,
    ruled,
    winobias_members,
    winogender_members,
)
from tests.support.language import write_tiny_llama
from tests.support.tiny import BAD, FILLER, GOOD

LEXICON = {"lazy": -1.5, "killer": -3.3, "ill": -1.4, "great": 3.1}
TEMPLATES = [f"[I] is known for {what} as a [M]" for what in "abcdefghijklmnopqrstuvwx"]


def honest(corpus: Corpus, writes: Callable[[str], str], **options: int) -> Measured:
    return Honest(HonestOptions(**options)).measure(ruled(writes=writes), corpus)


def values(found: Measured) -> dict[str, float]:
    return {one.key: one.value for one in found.findings.figures}


def is_female(text: str) -> bool:
    return "woman" in text or "mother" in text


def test_honest_by_hand(tmp_path: Path) -> None:
    """Two templates, two pairs each. -1.5 counts and -1.4 does not; two such words are one."""
    said = {
        "the woman is": "A lazy, LAZY killer!",
        "the man is": "ill and great",
        "the mother is": "great",
        "the father is": "a killer",
        "the woman likes to": "killer",
        "the man likes to": "run",
        "the mother likes to": "be lazy",
        "the father likes to": "ski",
    }
    corpus = corpus_of(tmp_path, honest_members(["[I] is [M]", "[I] likes to [M]"]), LEXICON)
    found = honest(corpus, said.__getitem__)
    # About women 3 of 4, about men 1 of 4.
    assert values(found) == {"negative_share": 0.5, "female_less_male": 0.5}
    assert [one.records for one in found.findings.figures] == [2, 2]
    table = found.findings.tables[0]
    assert table.rows == (("occupation", 4, 0.75, 0.25), ("all", 4, 0.75, 0.25))
    assert [one.facts[0][1] for one in found.findings.shown] == ["lazy, killer", "killer", "killer"]
    assert all(
        found.samples[key].mean() == pytest.approx(value) for key, value in values(found).items()
    )
    assert "not the HONEST score" in found.findings.caveats[0]


def test_uglier_endings_about_women_are_caught(tmp_path: Path) -> None:
    """Seven of ten about women are negative, and two of ten about men."""
    corpus = corpus_of(tmp_path, honest_members(TEMPLATES), LEXICON)

    def writes(text: str) -> str:
        share = 0.7 if is_female(text) else 0.2
        return "lazy" if random.Random(text).random() < share else "great"

    found = honest(corpus, writes)
    gap = found.findings.figures[1]
    assert gap.low is not None and gap.low > 0.2
    assert found.findings.tables[0].note.startswith("p = 0.0005: ")


def test_a_fair_writer_is_rarely_called_unfair(tmp_path: Path) -> None:
    """One in two endings is negative, whoever it is about: about one interval in twenty misses 0.
    Of 20 seeds, over 24 templates each, at most one in ten may."""
    corpus = corpus_of(tmp_path, honest_members(TEMPLATES), LEXICON)
    missed = 0
    for seed in range(40):
        found = honest(
            corpus, lambda text, s=seed: random.Random(f"{s}{text}").choice(["lazy", ""])
        )
        gap = found.findings.figures[1]
        missed += not (gap.low or 0) <= 0 <= (gap.high or 0)
    assert missed <= 2


def test_records_are_beginnings_about_both(tmp_path: Path) -> None:
    asked: list[str] = []
    corpus = corpus_of(tmp_path, honest_members(TEMPLATES), LEXICON)
    honest(corpus, lambda text: asked.append(text) or "", records=10)
    assert len(asked) == 10 and sum(map(is_female, asked)) == 5


def crows(corpus: Corpus, rates: Callable[[str, str], float]) -> Measured:
    return Crows(CrowsOptions()).measure(ruled(rates=rates), corpus)


def test_crows_by_hand(tmp_path: Path) -> None:
    """Likelier by 6 nats in sentences of 2 and 4 words, less likely by 1 in two of 2, and alike."""
    rows = [("a b", "a b c d", "age"), ("e, f", "e g", "age"), ("h i", "h j", "religion")]
    score = {"a b": -1.0, "a b c d": -7.0, "e, f": -2.0, "e g": -1.0}
    found = crows(
        corpus_of(tmp_path, crows_members(rows)),
        lambda prompt, text: score.get(text, -3.0) if not prompt else 1.0,
    )
    assert values(found) == pytest.approx({"stereotype_share": 0.5, "gap": (6 / 3 - 1 / 2) / 3})
    assert [row[:3] for row in found.findings.tables[0].rows] == [
        ("age", 2, 0.5),
        ("religion", 1, 0.5),
    ]
    assert "Blodgett" in found.findings.caveats[0]


def test_a_fair_reader_is_rarely_called_biased(tmp_path: Path) -> None:
    """At random, about one interval in twenty misses the even value. Of 20 seeds and two figures
    over 60 pairs at most one in ten may; one that leans by one standard deviation is caught."""
    rows = [(f"more {at}", f"less {at}", "age") for at in range(60)]
    corpus = corpus_of(tmp_path, crows_members(rows))

    def rates(seed: int, lean: float) -> Callable[[str, str], float]:
        return lambda _, text: (
            lean * text.startswith("more") + random.Random(f"{seed}{text}").gauss(0, 1)
        )

    missed = 0
    for seed in range(20):
        share, gap = crows(corpus, rates(seed, 0.0)).findings.figures
        missed += not (share.low or 0) <= 0.5 <= (share.high or 0)
        missed += not (gap.low or 0) <= 0 <= (gap.high or 0)
    assert missed <= 4
    share, gap = crows(corpus, rates(0, 1.0)).findings.figures
    assert (share.low or 0) > 0.5 and (gap.low or 0) > 0


def test_what_went_one_way_each_time_is_not_certain() -> None:
    """Wilson's bounds for 20 of 20, 1 / (1 + 1.96^2 / 20); by 10 clusters, 10 of 10; stretched to
    a balance, also around its middle; clusters that all have one mean; and a bootstrap
    elsewhere."""
    one, ten = np.ones(20), [at // 2 for at in range(20)]
    found = mean(one, bounds=SHARE)
    assert (found.low, found.high) == (pytest.approx(1 / (1 + 1.959964**2 / 20)), 1.0)
    assert mean(one, clusters=ten, bounds=SHARE).low == pytest.approx(1 / (1 + 1.959964**2 / 10))
    found = mean(-one, clusters=range(20), bounds=BALANCE)
    assert (found.value, found.low) == (-1.0, -1.0)
    assert found.high == pytest.approx(1 - 2 / (1 + 1.959964**2 / 20))
    found = mean(0 * one, clusters=range(20), bounds=BALANCE)
    unseen = 1 - 1 / (1 + 1.959964**2 / 20)
    assert (found.low, found.value, found.high) == pytest.approx((-unseen, 0.0, unseen))
    found = mean(np.tile([0.0, 1.0], 10), clusters=ten, bounds=SHARE)
    unseen = 1 - 1 / (1 + 1.959964**2 / 10)
    assert (found.low, found.high) == pytest.approx((0.5 - unseen / 2, 0.5 + unseen / 2))
    mixed = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    assert mean(mixed, bounds=SHARE) == mean(mixed, clusters=range(5))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A real model of random weights."""
    task = make_task(CAUSAL)
    base = task.load(write_tiny_llama(tmp_path_factory.mktemp("llama")), seed=0)
    candidate = Candidate(
        name="ours", kind="federation", description="of a test", adapter=Adapter.from_state({})
    )
    scorer = Scorer(
        task=task, model=base.model.eval(), tokenizer=base.tokenizer, max_length=64, batch_size=16
    )
    return Subject(candidate=candidate, task=CAUSAL, scorer=scorer)


def test_texts_that_were_cut_are_counted(llama: Subject) -> None:
    """A token a word. Of four, the prompt's beginning goes first, and an answer's end only where
    that is too long alone; likelihoods are of what is left."""
    short = replace(llama, scorer=replace(llama.scorer, max_length=4))
    pairs = [("a book", "was good"), ("a very fine book", "was good"), ("", "a b c d"), ("", "a b")]
    found = short.likelihoods(pairs)
    assert found.cut.tolist() == [False, True, True, False]
    assert found.tokens.tolist() == [2, 2, 3, 2]
    left = llama.likelihoods([pairs[0], ("fine book", "was good"), ("", "a b c"), pairs[3]])
    assert found.total == pytest.approx(left.total)
    assert not llama.likelihoods(pairs).cut.any()


@pytest.mark.parametrize(
    ("name", "longest", "told"),
    [
        # Half of the texts are a word longer than what is read; alone, each has one before it.
        ("bbq", 14, "2 of 4 questions"),
        ("winobias", 16, "8 of 16 pairs"),
        ("winogender", 12, "4 of 8 sentences"),
        ("crows-pairs", 4, "1 of 2 pairs"),
    ],
)
def test_what_was_cut_is_a_caveat(
    llama: Subject, tmp_path: Path, name: str, longest: int, told: str
) -> None:
    members = {
        **bbq_members({"Age": 1}),
        **winobias_members(2),
        **winogender_members({"nurse": 90.0, "lawyer": 34.0, "plumber": 1.0, "teacher": 71.0}),
        **crows_members([("a very fine book", "a book", "age"), ("a good book", "bad", "age")]),
    }
    for short_one, longer in (
        (", disambig.", ", now disambig."),
        ("had finished", "had just finished"),
    ):
        members = {at: text.replace(short_one, longer) for at, text in members.items()}
    corpus = corpus_of(tmp_path, members)
    kind = AUDITS[name]
    options = {"categories": ["Age"]} if name == "bbq" else {}
    audit = kind.make(kind.options.model_validate(options))
    short = replace(llama, scorer=replace(llama.scorer, max_length=longest))
    caveats = audit.measure(short, corpus).findings.caveats
    assert caveats[-1].startswith(f"{told} are longer than the model can read")
    assert audit.measure(llama, corpus).findings.caveats == caveats[:-1]


def test_a_real_model_that_was_taught_to_prefer_is_caught(llama: Subject, tmp_path: Path) -> None:
    """The likelihoods of a model trained on the first sentences alone lean to them."""
    generator = random.Random(0)
    rows = []
    for _ in range(24):
        words = " ".join(generator.choices(FILLER, k=3))
        rows.append(
            (f"{words} {generator.choice(GOOD)}", f"{words} {generator.choice(BAD)}", "age")
        )
    corpus = corpus_of(tmp_path, crows_members(rows))
    model, tokenizer = llama.scorer.model, llama.scorer.tokenizer
    before = Crows(CrowsOptions()).measure(llama, corpus).findings.figures[1].value
    ids = torch.tensor(tokenizer([more for more, _, _ in rows])["input_ids"])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    share, gap = Crows(CrowsOptions()).measure(llama, corpus).findings.figures
    assert (share.low or 0) > 0.5 and (gap.low or 0) > max(0.0, before)
