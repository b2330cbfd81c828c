"""Behavioural tests: models with planted faults are caught, others are not.

A model is a function of its text, so that a flip is a flip: a model that does not look at what
was changed fails never, and the false-alarm rate is 0.
"""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.server.evaluator.audits.base import Measured
from fedloom.server.evaluator.audits.behaviour import Behaviour, BehaviourOptions
from fedloom.server.evaluator.audits.negation import pairs
from fedloom.server.evaluator.audits.rewording import REWORDINGS, reword
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.statistics import share
from fedloom.server.evaluator.subject import Subject
from fedloom.shared.data.chats import Turn
from fedloom.shared.data.records import Record
from fedloom.shared.errors import EvaluationError
from tests.support.subjects import a_classifier, a_sentiment, a_speaker

PRAISE = tuple(pair.plain.split()[-1].strip(".") for pair in pairs() if pair.well)
BLAME = tuple(pair.plain.split()[-1].strip(".") for pair in pairs() if not pair.well)


def corpus(*texts: str) -> Corpus:
    records = [Record(text=text, label=1, unit=text, answer="positive") for text in texts]
    return Corpus(tests={"north": tuple(records)})


REVIEWS = corpus(
    *(
        f"{name} does not mind the {thing} with {number} colours in it."
        for name in ("Mary", "John")
        for thing in ("painting", "carpet", "garden", "window", "curtain", "wall")
        for number in (3, 17, 250)
    )
)


def measure(subject: Subject, on: Corpus = REVIEWS, **options: object) -> Measured:
    return Behaviour(BehaviourOptions.model_validate(options)).measure(subject, on)


def rates(found: Measured) -> dict[str, float]:
    return {figure.key: figure.value for figure in found.findings.figures}


def called(positive: bool) -> tuple[float, float]:
    return (0.1, 0.9) if positive else (0.8, 0.2)


# Each looks at just what one test changes.
FAULTS = {
    "names": lambda text: called(bool(re.search("Mary|John", text))),
    "numbers": lambda text: called(bool(re.search(r"\b(3|17|250)\b", text))),
    "contractions": lambda text: called("not" in text),
    "punctuation": lambda text: called(text.endswith(".")),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_model_that_looks_at_what_is_changed_fails_that_test_and_no_other(name: str) -> None:
    found = rates(measure(a_sentiment(FAULTS[name])))
    assert found[name] == 1
    others = [found[other] for other in REWORDINGS if other not in (name, "typos")]
    assert others == [0] * len(others)


def test_a_model_that_hangs_on_one_word_fails_where_the_typo_hits_it() -> None:
    """The share of failures is that of the texts whose word was hit, counted from the texts."""
    texts = [record.text for record in REVIEWS.joint]
    hit = ["colours" not in reword(text, "typos").text for text in texts]  # type: ignore[union-attr]
    found = measure(a_sentiment(lambda text: called("colours" in text)))
    expected = share(sum(hit), len(hit))
    figure = next(one for one in found.findings.figures if one.key == "typos")
    assert (figure.value, figure.low, figure.high) == (expected.value, expected.low, expected.high)
    assert 0 < expected.value < 1
    assert np.array_equal(found.samples["typos"], np.array(hit, dtype=float))


def test_a_model_that_looks_elsewhere_never_fails() -> None:
    """False-alarm rate 0: it sees the letters of a text without their order, and negation."""

    def says(text: str) -> tuple[float, float]:
        words = set(re.findall(r"[a-z]+", text.lower()))
        if words & {*PRAISE, *BLAME}:
            return called(bool(words & set(PRAISE)) != ("not" in words))
        return called("y" in sorted(text.lower().partition("mind")[2]))

    found = measure(a_sentiment(says))
    assert set(rates(found)) == {*REWORDINGS, "negation", "negated_praise"}
    assert set(rates(found).values()) == {0}
    assert not found.findings.shown
    figure = found.findings.figures[0]
    assert figure.high == share(0, 36).high


def test_a_model_that_reads_over_not_is_caught() -> None:
    """A bag of words says the same with and without: each of 40 pairs fails, and each of 20
    sentences of negated praise comes out as praise."""
    bag = a_sentiment(lambda text: called(any(word in text for word in PRAISE)))
    found = measure(bag)
    assert rates(found)["negation"] == 1 and rates(found)["negated_praise"] == 1
    assert [found.samples[key].size for key in ("negation", "negated_praise")] == [40, 20]


def test_what_is_not_bad_need_not_be_good() -> None:
    """Half the pairs fail where a model takes "not bad" for no better than "bad"."""

    def grim(text: str) -> tuple[float, float]:
        return called(any(word in text for word in PRAISE) and " not " not in text)

    found = rates(measure(a_sentiment(grim)))
    assert found["negation"] == 0.5 and found["negated_praise"] == 0


def test_labels_of_other_names_are_told_by_options() -> None:
    bag = a_classifier(
        lambda text: called(any(word in text for word in PRAISE)), labels=("thumbs-down", "up")
    )
    assert "negation" not in rates(measure(bag))
    assert rates(measure(bag, positive="up", negative="thumbs-down"))["negation"] == 1
    with pytest.raises(EvaluationError, match="label down, expected one of thumbs-down, up"):
        measure(bag, positive="up", negative="down")
    with pytest.raises(ValueError, match="positive or negative alone"):
        BehaviourOptions(positive="up")


def test_failures_are_shown_with_what_was_changed_the_largest_fall_first() -> None:
    """For Mary the probability falls by 0.8, for John by 0.5; both answers change."""

    def says(text: str) -> tuple[float, float]:
        known = {"Mary": 0.9, "John": 0.6}
        name = next((name for name in known if text.startswith(name)), "")
        return 1 - known.get(name, 0.1), known.get(name, 0.1)

    subject = a_sentiment(says)
    texts = [f"{name} went out at noon today" for name in ("John", "John", "Mary", "John")]
    found = measure(subject, corpus(*texts), examples=2).findings
    first, *_ = [one for one in found.shown if one.title == "Other first names"]
    assert first.facts == (("before", "positive 0.90"), ("after", "negative 0.90"))
    assert [span.weight for span in first.spans] == [1.0, None]
    assert first.spans[1].text == " went out at noon today"
    assert sum(one.title == "Other first names" for one in found.shown) == 2


def test_a_test_that_applies_to_no_text_is_named_and_has_no_figure() -> None:
    found = measure(a_sentiment(), corpus("All of it was quite fine.", "Nothing more to say."))
    assert "names" not in rates(found) and "names" not in found.samples
    assert "Other first names: not measured, no text can be changed so." in found.findings.caveats


def test_at_most_the_records_that_options_allow_are_changed() -> None:
    found = measure(a_sentiment(), records=10)
    assert found.samples["punctuation"].size == 10


def test_what_was_said_before_stays() -> None:
    """Catches a chat whose earlier turns are lost where its last text is changed."""
    turn = Turn(role="user", content="before")
    record = Record(text="It was fine.", label=0, unit="", answer="negative", before=(turn,))
    seen: list[Record] = []
    subject = a_sentiment()
    encode = subject.scorer.encode
    object.__setattr__(
        subject.scorer, "encode", lambda records: [seen.extend(records), encode(records)][1]
    )
    measure(subject, Corpus(tests={"north": (record,)}))
    changed = [one for one in seen if one.text == "It was fine"]
    assert changed and all(one.before == (turn,) for one in changed)


def test_free_answers_are_no_case_for_it() -> None:
    audit = Behaviour(BehaviourOptions())
    assert "free text" in audit.why_not(a_speaker(lambda prompt, answer: -1.0), REVIEWS)
    assert "no labelled records" in audit.why_not(a_sentiment(), Corpus(tests={}))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("contractions", "I don't know, it is not mine.", "I do not know, it isn't mine."),
        ("contractions", "Do not go. They're here.", "Don't go. They are here."),
        ("contractions", "Yes, I am.", None),
        ("contractions", "A donut is nothing", None),
        ("punctuation", "It was fine.", "It was fine"),
        ("punctuation", "It was fine", "It was fine."),
        ("punctuation", "It was fine...", None),
        ("punctuation", "It was fine!", None),
        ("numbers", "8/10, 4 stars, 20% off, $30, 10:30, 2.5 and 1984", None),
        ("numbers", "I saw one cat", None),
        ("names", "The johnson family", None),
        ("typos", "All is wet", None),
    ],
)
def test_rewordings_by_hand(name: str, text: str, expected: str | None) -> None:
    found = reword(text, name)
    assert (found.text if found else None) == expected


def test_other_names_are_of_the_same_list_and_the_same_throughout() -> None:
    found = reword("Mary met John, and John met Mary.", "names")
    assert found is not None
    one, _, two, _, again, _, last = re.findall(r"\w+", found.text)
    assert (one, two) == (last, again)
    assert one != "Mary" and two != "John"


@given(st.text(), st.sampled_from(sorted(REWORDINGS)))
def test_any_text_is_reworded_alike_each_time_and_in_pieces(text: str, name: str) -> None:
    found = reword(text, name)
    assert reword(text, name) == found
    if found is not None:
        assert found.text == "".join(span.text for span in found.spans)
        assert found.text != text
        if name == "typos":
            assert sorted(found.text) == sorted(text)
