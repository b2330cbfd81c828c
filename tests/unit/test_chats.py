"""Chats and free answers as records: what is one, and what is left out without a word of it."""

import json
from pathlib import Path

import pytest

from fedloom.shared.data.chats import Turn, parse_chat
from fedloom.shared.data.records import BadRow, Record, RecordSource, read_rows
from fedloom.shared.data.split import Split

ASKED = {"role": "user", "content": "what is it?"}
ANSWERED = {"role": "assistant", "content": "a book"}
SYSTEM = {"role": "system", "content": "be brief"}


def rows_of(path: Path, lines: list[object], *, labels: tuple[str, ...] = ()) -> list[object]:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    source = RecordSource(path=path, text="text", label="label", messages="messages")
    return list(read_rows(source, labels=labels))


def test_a_chat_is_its_turns_and_the_last_one_is_the_answer(tmp_path: Path) -> None:
    chat = [SYSTEM, ASKED, {"role": "assistant", "content": "which?"}, ASKED, ANSWERED]
    (found,) = rows_of(tmp_path / "r.jsonl", [{"messages": chat}])
    assert isinstance(found, Record)
    assert (found.text, found.answer, found.label) == ("what is it?", "a book", -1)
    assert [turn.role for turn in found.turns] == ["system", "user", "assistant", "user"]
    as_text = parse_chat(json.dumps(chat))
    assert as_text is not None and (*found.turns, as_text[-1]) == as_text


@pytest.mark.parametrize(
    "chat",
    [
        [],
        [ASKED],
        [ANSWERED],
        [SYSTEM],
        [SYSTEM, ANSWERED],
        [ASKED, ASKED, ANSWERED],
        [ASKED, SYSTEM, ANSWERED],
        [ASKED, ANSWERED, ANSWERED],
        [ASKED, {"role": "tool", "content": "x"}, ANSWERED],
        [ASKED, {"role": "assistant"}],
        [ASKED, {"role": "assistant", "content": "  "}],
        [ASKED, "a book"],
        {"role": "user"},
        "no json",
        None,
        3,
    ],
)
def test_what_is_no_answered_chat_is_a_bad_row(tmp_path: Path, chat: object) -> None:
    """Catches a row that stops the site, or one that trains on something that is no answer."""
    good, bad = rows_of(tmp_path / "r.jsonl", [{"messages": [ASKED, ANSWERED]}, {"messages": chat}])
    assert isinstance(good, Record) and isinstance(bad, BadRow)
    assert (bad.row, bad.column) == (2, "messages")
    assert "a book" not in bad.problem


def test_an_answer_outside_the_label_set_is_a_bad_row(tmp_path: Path) -> None:
    (found,) = rows_of(tmp_path / "r.jsonl", [{"messages": [ASKED, ANSWERED]}], labels=("A", "B"))
    assert isinstance(found, BadRow) and "label set" in found.problem


@pytest.mark.parametrize("row", [{"text": "a?"}, {"text": "a?", "label": None}])
def test_a_prompt_without_an_answer_is_a_bad_row(tmp_path: Path, row: dict[str, object]) -> None:
    """Catches the word None learned as an answer."""
    path = tmp_path / "r.jsonl"
    lines = [row, {"text": "b?", "label": "because"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    bad, good = read_rows(RecordSource(path=path, text="text", label="label"), labels=())
    assert isinstance(bad, BadRow) and bad.column == "label"
    assert isinstance(good, Record) and good.answer == "because"


def test_one_prompt_with_two_answers_stays_on_one_side_of_the_split(tmp_path: Path) -> None:
    split = Split(holdout="test", test_fraction=0.5, validation_fraction=0.1)
    for number in range(30):
        asked = {"role": "user", "content": f"question {number}"}
        chats = [{"messages": [asked, {"role": "assistant", "content": answer}]} for answer in "ab"]
        one, other = rows_of(tmp_path / "r.jsonl", list(chats))
        assert isinstance(one, Record) and isinstance(other, Record)
        assert split.part_of(one.unit) == split.part_of(other.unit)
        assert Turn(role="user", content=f"question {number}") in one.turns
