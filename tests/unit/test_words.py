"""Numbers, names and paths among words."""

import pytest

from fedloom.shared.words import count, nearest, without_folders


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 rounds"), (1, "1 round"), (2, "2 rounds"), (12_000, "12,000 rounds")],
)
def test_a_number_has_its_word(number: int, said: str) -> None:
    assert count(number, "round") == said


def test_a_word_may_have_a_plural_of_its_own() -> None:
    assert [count(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]


def test_who_names_what_is_not_known_is_told_what_was_meant_or_all() -> None:
    assert nearest("acuracy", ("accuracy", "loss")) == ", did you mean accuracy?"
    assert nearest("x", ("accuracy", "loss")) == ", expected one of accuracy, loss"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("assets bbq: not in /home/ada/.cache/fedloom, ask", "assets bbq: not in …/fedloom, ask"),
        ("/srv/st-mary/x.jsonl: changed", "…/x.jsonl: changed"),
        (
            "3/4 of north/site.toml and http://a.org/b/c",
            "3/4 of north/site.toml and http://a.org/b/c",
        ),
    ],
)
def test_where_a_file_lies_is_not_said_and_all_else_is(text: str, said: str) -> None:
    assert without_folders(text) == said
