"""Numbers among words."""

import pytest

from fedloom.shared.words import count


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 rounds"), (1, "1 round"), (2, "2 rounds"), (12_000, "12,000 rounds")],
)
def test_a_number_has_its_word(number: int, said: str) -> None:
    assert count(number, "round") == said


def test_a_word_may_have_a_plural_of_its_own() -> None:
    assert [count(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]
