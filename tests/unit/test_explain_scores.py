"""Edits and scores on classifiers that are a function of the text, by hand and by brute force."""

from collections.abc import Sequence
from itertools import chain, combinations

import numpy as np
import pytest

from fedloom.server.evaluator.explain.asking import Asked, Probabilities
from fedloom.server.evaluator.explain.edits import smallest_edits
from fedloom.server.evaluator.explain.examples import choose
from fedloom.server.evaluator.explain.faithfulness import CURVE, faithfulness, random_orders
from fedloom.server.evaluator.explain.vocabulary import words_against
from fedloom.server.evaluator.explain.words import WordedText
from fedloom.server.evaluator.statistics import paired
from fedloom.shared.data.records import Record

ORDER = tuple(range(10))


def worded(text: str) -> WordedText:
    words = tuple(text.split())
    return WordedText(
        words=words,
        gaps=("", *[" "] * (len(words) - 1)),
        unread="",
        tokens=(),
        owners=(),
        special=(),
    )


def by_word(texts: Sequence[str]) -> Probabilities:
    """0.9 positive with the word `good`, else 0.2."""
    positive = np.array([0.9 if "good" in text.split() else 0.2 for text in texts])
    return np.stack([1 - positive, positive], axis=1)


TEN = worded("good b c d e f g h i j")


def test_scores_by_hand() -> None:
    first = faithfulness(by_word, [TEN], [ORDER])
    assert first.comprehensiveness == pytest.approx([0.7])
    assert first.sufficiency == pytest.approx([0.0])
    assert first.curve[0] == pytest.approx([0.9, *[0.2] * (len(CURVE) - 1)])
    assert first.area == pytest.approx([0.05 * 0.55 + 0.95 * 0.2])
    last = faithfulness(by_word, [TEN], [ORDER[::-1]])
    assert last.comprehensiveness == pytest.approx([0.0])
    assert last.sufficiency == pytest.approx([0.7])
    third = faithfulness(by_word, [TEN], [(1, 2, 0, *ORDER[3:])])
    # Of the shares 1, 5, 10, 20 and 50 % of ten words, the last alone is three words or more.
    assert third.comprehensiveness == pytest.approx([0.7 / 5])


def test_a_text_of_one_word() -> None:
    found = faithfulness(by_word, [worded("good")], [(0,)])
    assert found.comprehensiveness == pytest.approx([0.7])
    assert found.sufficiency == pytest.approx([0.0])


def some_texts(seed: int) -> list[WordedText]:
    generator = np.random.default_rng(seed)
    return [
        worded(" ".join(generator.permutation(["good", *"bcdefghij"[: int(size)]])))
        for size in generator.integers(3, 10, size=24)
    ]


def test_an_order_that_knows_nothing_is_no_better_than_chance() -> None:
    """At 5 % over 40 draws of texts and orders, more than 6 alarms come in 1 of 70 runs."""
    ask, alarms = Asked(by_word), 0
    for seed in range(40):
        texts = some_texts(seed)
        blind = faithfulness(ask, texts, random_orders(texts, seed=1000 + seed))
        chance = faithfulness(ask, texts, random_orders(texts, seed=seed))
        alarms += paired(blind.comprehensiveness, chance.comprehensiveness).p_value < 0.05
    assert alarms <= 6


def test_an_order_that_knows_is_better_than_chance() -> None:
    texts = some_texts(0)
    knows = [
        tuple(sorted(range(len(one.words)), key=lambda at, one=one: one.words[at] != "good"))  # type: ignore[misc]
        for one in texts
    ]
    ours = faithfulness(by_word, texts, knows)
    chance = faithfulness(by_word, texts, random_orders(texts))
    assert paired(ours.comprehensiveness, chance.comprehensiveness).p_value < 0.001
    assert paired(ours.area, chance.area).difference < -0.2
    assert paired(ours.sufficiency, chance.sufficiency).difference < -0.2


class Table:
    """A classifier of texts of the words 0 to 4: a random probability for each set of them."""

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self._positive = generator.uniform(0.0, 1.0, size=32) ** 0.35
        self._positive[31] = 0.99

    def flips(self, gone: Sequence[int]) -> bool:
        return bool(self._positive[31 - sum(2**at for at in gone)] < 0.5)

    def __call__(self, texts: Sequence[str]) -> Probabilities:
        rows = [sum(2 ** int(word) for word in text.split()) for text in texts]
        positive = self._positive[rows]
        return np.stack([1 - positive, positive], axis=1)


def parts(of: Sequence[int]) -> list[tuple[int, ...]]:
    return list(chain.from_iterable(combinations(of, size) for size in range(1, len(of) + 1)))


def test_edits_flip_and_no_part_of_one_does() -> None:
    """Against all sets of words, on 300 random classifiers."""
    text, sizes = worded("0 1 2 3 4"), []
    for seed in range(300):
        table = Table(seed)
        [found] = smallest_edits(table, [text], [ORDER[:5]], max_edits=5)
        possible = [gone for gone in parts(range(5)) if table.flips(gone)]
        if found is None:
            # With all words gone at the last, only the whole is sure to be tried.
            assert ORDER[:5] not in possible
            continue
        gone = tuple(found.changes)
        assert table.flips(gone)
        assert not any(table.flips(part) for part in parts(gone) if len(part) < len(gone))
        if len(min(possible, key=len)) == 1:
            assert len(gone) == 1
        sizes.append(len(gone))
    assert {1, 2, 3} <= set(sizes)


def probabilities_of(left: dict[frozenset[str], float], texts: Sequence[str]) -> Probabilities:
    gone = [frozenset("abcd") - frozenset(text.split()) for text in texts]
    positive = np.array([left.get(one, 0.9) for one in gone])
    return np.stack([1 - positive, positive], axis=1)


def test_a_swap_finds_what_greed_misses() -> None:
    """Taking out `a` costs most, and only `b` with `c` flips."""
    left = {frozenset("a"): 0.6, frozenset("ab"): 0.55, frozenset("bc"): 0.1}
    [found] = smallest_edits(
        lambda texts: probabilities_of(left, texts),
        [worded("a b c d")],
        [(0, 1, 2, 3)],
        max_edits=2,
    )
    assert found is not None
    assert sorted(found.changes) == [1, 2]


def test_an_edit_of_three_is_cut_to_the_two_that_flip() -> None:
    """Greed goes by a and d; at three words it meets b and d, which are enough alone."""
    left = {
        frozenset("a"): 0.8,
        frozenset("ab"): 0.75,
        frozenset("ac"): 0.7,
        frozenset("cd"): 0.6,
        frozenset("bcd"): 0.2,
        frozenset("bd"): 0.4,
    }
    [found] = smallest_edits(
        lambda texts: probabilities_of(left, texts),
        [worded("a b c d")],
        [(0, 1, 2, 3)],
        max_edits=3,
    )
    assert found is not None
    assert sorted(found.changes) == [1, 3]


def test_edits_are_bounded_and_each_text_has_its_own() -> None:
    texts = [worded("good b c"), worded("b c"), worded("good good c")]
    orders = [(0, 1, 2), (0, 1), (0, 1, 2)]
    one = smallest_edits(by_word, texts, orders, max_edits=1)
    two = smallest_edits(by_word, texts, orders, max_edits=2)
    assert [None if edit is None else dict(edit.changes) for edit in one] == [{0: ""}, None, None]
    assert two[2] is not None
    assert dict(two[2].changes) == {0: "", 1: ""}


def test_a_word_can_be_replaced() -> None:
    [found] = smallest_edits(
        by_word, [worded("b c")], [(1, 0)], max_edits=2, substitutes=[("dull", "good")]
    )
    assert found is not None
    assert (dict(found.changes), found.label) == ({1: "good"}, 1)
    assert found.words(worded("b c")) == "c → good"


def test_no_text_is_asked_twice() -> None:
    seen: list[str] = []

    def counted(texts: Sequence[str]) -> Probabilities:
        seen.extend(texts)
        return by_word(texts)

    ask = Asked(counted)
    faithfulness(ask, [TEN, TEN], [ORDER, ORDER])
    smallest_edits(ask, [TEN], [ORDER], max_edits=2)
    assert len(seen) == len(set(seen))


def test_words_against_a_label_are_the_others_own() -> None:
    records = [
        Record(text=text, label=label, unit="")
        for label, text in [(0, "dull film a"), (1, "great film b")] * 6
    ]
    assert words_against(records, 0, count=3) == ("b", "great")
    assert words_against(records, 1, count=1) == ("a",)
    # In fewer than five records a word is left out, and one label alone has no other.
    assert words_against(records[:8], 0, count=3) == ()
    assert words_against(records[::2], 0, count=3) == ()


def test_examples_are_chosen_by_rule() -> None:
    positive = np.array([0.99, 0.95, 0.02, 0.97, 0.52, 0.01])
    probabilities = np.stack([1 - positive, positive], axis=1)
    labels = [1, 1, 0, 0, 1, 1]
    assert choose(probabilities, labels, count=4) == [
        (0, "Right and sure"),
        (2, "Right and sure"),
        (5, "Wrong and sure"),
        (4, "Undecided"),
    ]
    assert choose(probabilities, labels, count=0) == []
    assert len(choose(probabilities, labels, count=50)) == 6
