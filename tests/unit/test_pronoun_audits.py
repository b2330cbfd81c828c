"""WinoBias and Winogender: scores by hand, a biased model, a fair one, and classifiers."""

import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedloom.server.evaluator.audits.winobias import WinoBias, WinoBiasOptions
from fedloom.server.evaluator.audits.winogender import Winogender, WinogenderOptions
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.findings import Figure
from fedloom.shared.config.sections import TaskSection
from tests.support.benchmarks import (
    CLASSES,
    Ruled,
    corpus_of,
    ruled,
    winobias_members,
    winogender_members,
)

WOMEN = {"plumber": 0.7, "lawyer": 34.5, "teacher": 71.0, "nurse": 89.6, "planner": 77.6}
SHE = re.compile(r"\bshe\b")


def winobias(corpus: Corpus, subject: Ruled) -> dict[str, Figure]:
    found = WinoBias(WinoBiasOptions()).measure(subject, corpus)
    for one in found.findings.figures:
        assert found.samples[one.key].mean() == pytest.approx(one.value)
    return {one.key: one for one in found.findings.figures}


def winogender(corpus: Corpus, subject: Ruled) -> dict[str, Figure]:
    found = Winogender(WinogenderOptions()).measure(subject, corpus)
    return {one.key: one for one in found.findings.figures}


def noise(seed: int, *parts: str) -> float:
    return random.Random(f"{seed} {parts}").gauss(0, 1)


def excludes(one: Figure, even: float) -> bool:
    return one.low is not None and one.high is not None and not one.low <= even <= one.high


def test_winobias_by_hand(tmp_path: Path) -> None:
    """Two twins a type, one a file. Sentences about the developer's pronoun have 12 words, as the
    fake counts tokens, and the others 11."""
    liked = {("developer", "he"): 0.0, ("developer", "she"): -3.0}
    liked |= {("designer", "she"): -5.0, ("designer", "he"): -4.0}

    def rates(prompt: str, text: str) -> float:
        said = prompt or text
        who = "developer" if "alone" in said else "designer"
        pronoun = "she" if SHE.search(said) else "he"
        if not prompt:
            return liked[who, pronoun] if "because" in text else 0.0
        # Of type 1 it takes the designer for meant where the pronoun is `she`, else the developer.
        expected = "designer" if pronoun == "she" else "developer"
        return float("because" in prompt and text == f" {expected}")

    found = winobias(corpus_of(tmp_path, telling(winobias_members(1))), ruled(rates=rates))
    # Likelier for the developer by 3 nats, less likely for the designer by 1.
    assert found["stereotype_share_type1"].value == 0.5
    assert found["gap_type1"].value == pytest.approx((3 / 12 - 1 / 11) / 2)
    # Right with every stereotyped version and wrong with every turned one.
    assert found["coreference_gap_type1"].value == 1.0
    assert found["stereotype_share_type1"].records == 2
    # Neither version, and neither person, is likelier.
    assert found["stereotype_share_type2"].value == 0.5
    assert found["gap_type2"].value == found["coreference_gap_type2"].value == 0.0


def telling(members: dict[str, str]) -> dict[str, str]:
    """The developer is said to be alone where the pronoun is his, so that a rule can tell."""
    return {
        name: text.replace("[The developer] met", "[The developer], alone, met")
        for name, text in members.items()
    }


def fits(text: str) -> bool:
    return ("alone" in text) != bool(SHE.search(text))


def test_a_model_that_expects_the_stereotype_is_caught(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, telling(winobias_members(10)))

    def rates(prompt: str, text: str) -> float:
        if prompt:
            right = "developer" if "alone" in prompt else "designer"
            return 1.5 * fits(prompt) * (text == f" {right}") + noise(0, prompt, text)
        return 1.5 * fits(text) + noise(0, text)

    found = winobias(corpus, ruled(rates=rates))
    for type_ in (1, 2):
        assert (found[f"stereotype_share_type{type_}"].low or 0) > 0.5
        assert (found[f"gap_type{type_}"].low or 0) > 0
        assert (found[f"coreference_gap_type{type_}"].low or 0) > 0


def test_a_liking_for_one_gender_is_no_stereotype(tmp_path: Path) -> None:
    """`he` is likelier everywhere by far: within each twin that cancels to the last digit."""
    corpus = corpus_of(tmp_path, winobias_members(10))
    found = winobias(corpus, ruled(rates=lambda _, text: -5.0 * bool(SHE.search(text))))
    assert found["stereotype_share_type1"].value == 0.5
    assert found["gap_type2"].value == pytest.approx(0, abs=1e-12)


def test_a_fair_model_is_rarely_called_biased(tmp_path: Path) -> None:
    """Likelihoods at random: about one interval in twenty misses the even value. Of 15 seeds and
    six figures, over 24 twins each, at most one in ten may."""
    corpus = corpus_of(tmp_path, winobias_members(12))
    missed = 0
    for seed in range(15):
        found = winobias(corpus, ruled(rates=lambda prompt, text, s=seed: noise(s, prompt, text)))
        even = {key: 0.5 if "share" in key else 0.0 for key in found}
        missed += sum(excludes(one, even[key]) for key, one in found.items())
    assert missed <= 9


def test_a_classifier_that_hears_the_pronoun_is_caught(tmp_path: Path) -> None:
    """0.9 negative with `he`, 0.3 with `she`: every label flips, by 0.6; a deaf one never does."""

    def says(text: str) -> tuple[float, float]:
        return (0.3, 0.7) if SHE.search(text) else (0.9, 0.1)

    audit = WinoBias(WinoBiasOptions())
    corpus = corpus_of(tmp_path, winobias_members(4))
    found = audit.measure(ruled(CLASSES, says=says), corpus).findings
    assert {one.key: pytest.approx(one.value) for one in found.figures} == {
        "flip_rate": 1.0,
        "score_shift": 0.6,
    }
    # Feminine less masculine, by label.
    assert [row[:2] for row in found.tables[0].rows] == [
        ("negative", pytest.approx(-0.6)),
        ("positive", pytest.approx(0.6)),
    ]
    deaf = audit.measure(ruled(CLASSES, says=lambda _: (0.4, 0.6)), corpus).findings
    assert [one.value for one in deaf.figures] == [0.0, 0.0] and deaf.shown == ()


@pytest.mark.parametrize("audit", [WinoBias(WinoBiasOptions()), Winogender(WinogenderOptions())])
def test_a_translator_has_no_measure(audit: WinoBias | Winogender, tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, {})
    assert "neither" in audit.why_not(ruled(TaskSection(kind="seq2seq")), corpus)
    assert audit.why_not(ruled(CLASSES), corpus) == audit.why_not(ruled(), corpus) == ""


def test_winogender_by_hand(tmp_path: Path) -> None:
    """`she` is likelier than `he` by these nats, of the sentence about the holder alone."""
    leans = {"plumber": -2.0, "lawyer": 0.5, "teacher": 0.0, "nurse": 3.0, "planner": 1.0}

    def rates(_: str, text: str) -> float:
        occupation = text.split()[1]
        if "could pay" in text:
            return -1.0 if SHE.search(text) else 0.0
        return leans[occupation] if SHE.search(text) else -4.0 * ("they" in text.split())

    found = winogender(corpus_of(tmp_path, winogender_members(WOMEN)), ruled(rates=rates))
    x, y = np.array([WOMEN[name] / 100 for name in leans]), np.array(list(leans.values()))
    covariance = ((x - x.mean()) * (y - y.mean())).sum()
    pearson = covariance / np.sqrt(((x - x.mean()) ** 2).sum() * ((y - y.mean()) ** 2).sum())
    assert found["correlation"].value == pytest.approx(pearson)
    low, high = np.tanh(np.arctanh(pearson) + np.array([-1, 1]) * 1.959964 / np.sqrt(5 - 3))
    assert (found["correlation"].low, found["correlation"].high) == pytest.approx((low, high))
    # Five sentences about the holder with 2.5 nats in all, five about the other with -1 each.
    assert found["female_less_male"].value == pytest.approx((2.5 - 5) / 10)
    # Neutral: -4 - lean / 2 about the holder, 0.5 about the other.
    assert found["neutral_less_gendered"].value == pytest.approx((-4 * 5 - 2.5 / 2 + 0.5 * 5) / 10)


def test_a_model_that_knows_the_labour_market_is_caught_and_a_fair_one_is_not(
    tmp_path: Path,
) -> None:
    """30 occupations. At random, about one interval in twenty misses 0: of 20 seeds at most 3."""
    women = {f"worker{at}": 100 * (at + 0.5) / 30 for at in range(30)}
    corpus = corpus_of(tmp_path, winogender_members(women))

    def rates(seed: int, strength: float) -> Callable[[str, str], float]:
        def rated(_: str, text: str) -> float:
            share = women[text.split()[1]] / 100
            return strength * share * bool(SHE.search(text)) + noise(seed, text)

        return rated

    caught = winogender(corpus, ruled(rates=rates(0, 8.0)))["correlation"]
    assert (caught.low or 0) > 0.5
    missed = sum(
        excludes(winogender(corpus, ruled(rates=rates(seed, 0.0)))["correlation"], 0.0)
        for seed in range(20)
    )
    assert missed <= 3


def test_no_correlation_where_nothing_varies(tmp_path: Path) -> None:
    """A model that always says the same has none, and NaN is no figure."""
    found = winogender(corpus_of(tmp_path, winogender_members(WOMEN)), ruled())
    assert set(found) == {"female_less_male", "neutral_less_gendered"}


def test_a_classifier_flips_with_any_of_three_versions(tmp_path: Path) -> None:
    """`they` alone changes the label: he and she agree, and still it is a flip, by 0.5."""

    def says(text: str) -> tuple[float, float]:
        return (0.2, 0.8) if "they" in text.split() else (0.7, 0.3)

    found = Winogender(WinogenderOptions()).measure(
        ruled(CLASSES, says=says), corpus_of(tmp_path, winogender_members(WOMEN))
    )
    assert {one.key: pytest.approx(one.value) for one in found.findings.figures} == {
        "flip_rate": 1.0,
        "score_shift": 0.5,
    }
    assert all(row[1] == 0 for row in found.findings.tables[0].rows)
