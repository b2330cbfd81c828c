"""Counterfactual texts: whole words, their case, pronouns, and nothing else."""

import pytest

from fedloom.shared.swaps.swapping import exchanged, mentions, shifts, swaps_of
from fedloom.shared.swaps.vocabulary import AXES, TermsDocument, vocabulary


def _only(text: str, axis: str) -> str:
    (swap,) = swaps_of(text, axis)
    return swap.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He said that she likes him.", "She said that he likes her."),
        ("I gave her his book; the idea was hers.", "I gave him her book; the idea was his."),
        ("I told her that it was her idea.", "I told him that it was his idea."),
        ("HE, the Actor, is an uncle.", "SHE, the Actress, is an aunt."),
        ("Mrs Smith and John's wife", "Mr Smith and Jennifer's husband"),
        ("He's with her. Her dog saw her", "She's with him. His dog saw him"),
    ],
)
def test_gendered_words_and_pronouns_are_exchanged(text: str, expected: str) -> None:
    assert _only(text, "gender") == expected


@pytest.mark.parametrize(
    "text", ["The other chair, a theme, whey.", "mark the bill", "black and white film", ""]
)
def test_a_word_inside_another_and_a_colour_are_left_alone(text: str) -> None:
    for axis in AXES:
        assert swaps_of(text, axis) == ()


def test_a_name_is_a_name_only_with_a_capital() -> None:
    assert swaps_of("brad nails and a jay", "names") == ()
    assert _only("Brad and EMILY", "names") == "Darnell and LAKISHA"


def test_an_axis_of_four_groups_gives_three_texts_and_mends_the_article() -> None:
    texts = [swap.text for swap in swaps_of("A priest in a Christian church", "religion")]
    assert texts == [
        "An imam in a Muslim mosque",
        "A rabbi in a Jewish synagogue",
        "A pandit in a Hindu temple",
    ]


def test_pairs_say_what_was_exchanged_in_order() -> None:
    (swap,) = swaps_of("His sister", "gender")
    assert swap.pairs == (("His", "Her"), ("sister", "brother"))


@pytest.mark.parametrize("axis", AXES)
def test_going_round_all_groups_leads_back(axis: str) -> None:
    """An entry in the wrong place of its row, or a term in two rows, breaks the circle."""
    words = vocabulary(axis)
    for key, term in words.terms.items():
        if key in words.qualified or "/" in key or key in ("her", "his", "hers"):
            continue
        for shift in shifts(axis):
            there = exchanged(f"one {term.written}, two", axis, shift)
            back = exchanged(there.text, axis, len(words.groups) - shift)
            assert back.text == f"one {term.written}, two", there


def test_a_colour_before_people_is_about_people() -> None:
    texts = [swap.text for swap in swaps_of("a black man in black", "ethnicity")]
    assert texts[0] == "an Asian man in black"
    assert len(texts) == 4


def test_mentions_name_the_groups() -> None:
    assert mentions("The rabbi met an imam", "religion") == {"Jewish", "Muslim"}
    assert mentions("nobody", "religion") == frozenset()


def test_a_row_that_lacks_a_group_is_refused() -> None:
    with pytest.raises(ValueError, match="one term for each"):
        TermsDocument(groups=("a", "b"), rows=(("x",),))
