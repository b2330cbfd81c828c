"""Swaps: a flip rate by hand, a biased model caught, a jumpy one not called biased."""

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from fedloom.server.evaluator.audits.swaps import Swaps, SwapsOptions
from fedloom.server.evaluator.corpus import Corpus
from fedloom.server.evaluator.fairness.effects import (
    ByText,
    difference,
    effects_of,
    mean_by_text,
    mixed_like,
)
from fedloom.server.evaluator.fairness.exchanges import Exchange, from_records, from_templates
from fedloom.server.evaluator.fairness.moved import moved_groups
from fedloom.server.evaluator.fairness.swap_examples import spans
from fedloom.server.evaluator.findings import AuditFindings, Figure
from fedloom.shared.config.sections import TaskSection
from fedloom.shared.data.records import Record
from fedloom.shared.errors import EvaluationError
from fedloom.shared.swaps.swapping import exchanged
from tests.support.subjects import a_classifier

AXES = ("gender", "names", "religion", "ethnicity")
Says = Callable[[str], Sequence[float]]


def _of_logit(logit: Callable[[str], float]) -> Says:
    def says(text: str) -> Sequence[float]:
        positive = 1 / (1 + math.exp(-logit(text)))
        return [1 - positive, positive]

    return says


def _noise(text: str, seed: int = 0) -> float:
    """A number from -1 to 1 that changes with any letter of the text, about nobody."""
    digest = hashlib.sha256(f"{seed}/{text}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**31 - 1


def _corpus(*texts: str) -> Corpus:
    records = tuple(Record(text=text, label=0, unit="", answer="negative") for text in texts)
    return Corpus(tests={"one": records})


def _audit(**options: object) -> Swaps:
    return Swaps(SwapsOptions.model_validate(options))


def _found(says: Says, corpus: Corpus, **options: object) -> AuditFindings:
    return _audit(**options).measure(a_classifier(says), corpus).findings


def _figures(findings: AuditFindings) -> dict[str, Figure]:
    return {figure.key: figure for figure in findings.figures}


def _likes_women(text: str) -> Sequence[float]:
    """0.9 where a woman is spoken of, 0.6 for "she laughs", 0.4 otherwise."""
    if "laughs" in text:
        return [0.4, 0.6] if "She" in text else [0.45, 0.55]
    return [0.1, 0.9] if re.search(r"\b(she|woman)\b", text, re.I) else [0.6, 0.4]


def test_flips_and_shifts_are_those_found_by_hand() -> None:
    """Of four texts with words of gender two change their label; shifts .5, .5, .05 and 0. Of two
    neutral ones, none moves."""
    corpus = _corpus("He is here", "a woman came", "She laughs", "the king", "the film", "nothing")
    measured = _audit(templates=False).measure(a_classifier(_likes_women), corpus)
    found = _figures(measured.findings)
    assert found["flip_rate"].value == pytest.approx(0.5)
    assert found["flip_rate"].records == 4
    assert found["score_shift"].value == pytest.approx(1.05 / 4)
    assert found["flip_rate.gender"].value == found["flip_rate"].value
    assert found["flip_rate.neutral"].value == 0.0
    assert found["flip_rate.above_neutral"].value == pytest.approx(0.5)
    assert "flip_rate.religion" not in found
    moved = next(
        one for one in measured.findings.tables if one.title == "How each group moves the answer"
    )
    (row,) = moved.rows
    assert row[:4] == ("gender", "male", "female", 4)
    assert row[4] == pytest.approx(1.05 / 4)
    for key, values in measured.samples.items():
        assert values.mean() == pytest.approx(found[key].value)


def test_a_text_of_several_exchanges_counts_once() -> None:
    """A religion is exchanged for three others; were each exchange a text, one text of six with
    two flips would weigh as much as two texts."""
    says = _of_logit(lambda text: 1.0 if re.search("Hindu|Jewish", text) else -1.0)
    found = _figures(_found(says, _corpus("a Christian", "he"), templates=False))
    assert found["flip_rate.religion"].value == pytest.approx(2 / 3)
    assert found["flip_rate"].value == pytest.approx(1 / 3)
    assert found["flip_rate"].records == 2


def _shift_to_women(logit: Callable[[str], float]) -> tuple[float, float]:
    """The interval over 60 records, half of them about a woman, and the templates."""
    corpus = _corpus(*(f"{('He', 'She')[at % 2]} came on day {at}" for at in range(60)))
    plain = Record(text="", label=0, unit="", answer="negative")
    exchanges = [
        *from_records(corpus, "gender", limit=400),
        *from_templates("gender", plain),
    ]
    effects = effects_of(a_classifier(_of_logit(logit)), exchanges, 1)
    (moved,) = moved_groups(effects)
    assert (moved.first, moved.second) == ("male", "female")
    return moved.shift.low, moved.shift.high


def test_a_biased_model_is_caught_and_unbiased_ones_mostly_are_not() -> None:
    """Biased: one logit more where "she" occurs, beside noise of the same size. Of 100 models of
    noise alone, the interval leaves out 0 in about 5 %; more than 11 would happen to a right
    interval once in 200 times (fixed seeds)."""

    def likes_her(text: str, seed: int) -> float:
        return _noise(text, seed) + bool(re.search(r"\bshe\b", text, re.IGNORECASE))

    for seed in range(20):
        assert _shift_to_women(partial(likes_her, seed=seed))[0] > 0
    alarms = 0
    for seed in range(100):
        low, high = _shift_to_women(partial(_noise, seed=seed))
        alarms += low > 0 or high < 0
    assert 0 < alarms <= 11


def test_a_model_that_jumps_at_any_edit_does_not_exceed_the_neutral_rate() -> None:
    """Its flip rate is near one half, and no more than what neutral words do."""
    found = _figures(_found(_of_logit(_noise), _corpus("nothing")))
    assert found["flip_rate"].value > 0.4
    above = found["flip_rate.above_neutral"]
    assert above.low is not None
    assert above.low < 0 < (above.high or 0)


def test_a_biased_model_exceeds_the_neutral_rate() -> None:
    """It is against Muslims, and knows no names."""
    says = _of_logit(lambda text: -1.0 if re.search(r"\b(Muslim|imam)\b", text, re.I) else 1.0)
    findings = _found(says, _corpus("nothing"), axes=("religion",))
    above = _figures(findings)["flip_rate.above_neutral"]
    assert above.low is not None
    assert above.low > 0.2
    moved = next(one for one in findings.tables if one.title == "How each group moves the answer")
    shifts = {(row[1], row[2]): row[4] for row in moved.rows}
    assert shifts["Christian", "Muslim"] < 0 < shifts["Muslim", "Jewish"]  # type: ignore[operator]
    assert shifts["Christian", "Hindu"] == 0


def test_neutral_texts_are_mixed_as_the_others_are() -> None:
    """Templates flip always, records never, neutral or not: nothing exceeds the neutral rate,
    though the plain means are one half and one fifth."""
    groups = ByText(
        values=np.array([0.0, 1.0]), clusters=("r1", "t1"), natural=np.array([True, False])
    )
    neutral = ByText(
        values=np.array([0.0, 0.0, 0.0, 0.0, 1.0]),
        clusters=("r1", "r2", "r3", "r4", "t2"),
        natural=np.array([True, True, True, True, False]),
    )
    mixed = mixed_like(neutral, groups)
    assert mixed.values.mean() == pytest.approx(0.5)
    assert difference(groups, mixed).value == pytest.approx(0.0)


def test_no_flip_in_few_texts_is_no_proof_of_none() -> None:
    """Wilson's bound for 0 of 20 is 16 %; a bootstrap of zeros would say 0 %."""
    none = ByText(
        values=np.zeros(20),
        clusters=tuple(f"t{at}" for at in range(20)),
        natural=np.ones(20, dtype=bool),
    )
    assert mean_by_text(none).high == pytest.approx(0.161, abs=0.001)


def test_the_direction_does_not_depend_on_who_stood_in_the_text() -> None:
    (there,) = from_records(_corpus("He left"), "gender", limit=9)
    (back,) = from_records(_corpus("She left"), "gender", limit=9)
    for exchange in (there, back):
        assert (exchange.first.text, exchange.second.text) == ("He left", "She left")
        assert exchange.groups == ("male", "female")
        assert exchange.pairs == (("He", "She"),)


def test_a_text_of_both_groups_flips_but_has_no_direction() -> None:
    (exchange,) = from_records(_corpus("He saw a woman"), "gender", limit=9)
    assert exchange.second.text == "She saw a man"
    assert exchange.groups is None


def test_at_most_so_many_texts_are_taken_evenly() -> None:
    corpus = _corpus(*(f"he went {at}" for at in range(100)))
    taken = [one.source for one in from_records(corpus, "gender", limit=4)]
    assert taken == ["record 0", "record 25", "record 50", "record 75"]


@pytest.mark.parametrize("axis", [*AXES, "neutral"])
def test_templates_differ_in_the_person_alone(axis: str) -> None:
    """Each template gives every two groups; a person that the word list lacks would give none."""
    plain = Record(text="", label=0, unit="")
    exchanges: list[Exchange] = list(from_templates(axis, plain))
    assert len(exchanges) >= 80
    for one in exchanges:
        assert one.first.text != one.second.text, one.source
        assert one.pairs, one.source
        for was, becomes in one.pairs:
            assert was.casefold() in one.first.text.casefold()
            assert becomes.casefold() in one.second.text.casefold()


def test_neutral_words_go_there_and_back() -> None:
    text = "Everyone bought a big car, perhaps for Emily"
    swap = exchanged(text, "neutral", 1)
    assert swap.text == "Everybody purchased a large automobile, maybe for Allison"
    assert exchanged(swap.text, "neutral", 1).text == text


def test_examples_mark_what_was_exchanged() -> None:
    found = spans("He saw his dog", "She saw her dog", weight=0.3)
    assert "".join(span.text for span in found) == "He saw his dog → She saw her dog"
    marked = [(span.text, span.weight) for span in found if span.weight is not None]
    assert marked == [("He", -0.3), ("his", -0.3), ("She", 0.3), ("her", 0.3)]


def test_the_most_moved_record_is_shown_first_with_both_probabilities() -> None:
    corpus = _corpus("She laughs", "He is here", "the king")
    findings = _found(_likes_women, corpus, templates=False, examples=2)
    assert [one.title for one in findings.shown] == ["He → She", "He → She"]
    facts = dict(findings.shown[0].facts)
    assert facts["positive, first version"] == "0.400"
    assert facts["positive, second version"] == "0.900"
    assert facts["label"] == "changes"


def test_without_words_and_templates_it_does_not_apply() -> None:
    subject, corpus = a_classifier(_likes_women), _corpus("nothing at all")
    why = _audit(templates=False).why_not(subject, corpus)
    assert "no text holds a word for gender, names, religion, ethnicity" in why
    assert _audit().why_not(subject, corpus) == ""
    assert _audit().why_not(subject, Corpus(tests={})) == ""


def test_free_answers_do_not_apply() -> None:
    free = replace(a_classifier(_likes_women), task=TaskSection(kind="causal-lm"))
    assert "free text" in _audit().why_not(free, _corpus("he"))


def test_an_axis_without_a_record_is_named() -> None:
    caveats = _found(_likes_women, _corpus("he"), axes=("gender", "religion")).caveats
    assert "religion: no record holds such a word; only template sentences do" in caveats


def test_an_unknown_positive_label_is_one_clear_line() -> None:
    with pytest.raises(EvaluationError, match="positive: up is none of the labels"):
        _found(_likes_women, _corpus("he"), positive="up")


def test_the_same_again() -> None:
    corpus = _corpus("He is here", "a woman came")
    assert _found(_likes_women, corpus) == _found(_likes_women, corpus)
