"""Texts in words: nothing is lost, and each token has the word that it is a piece of."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from fedloom.server.evaluator.explain.words import NOBODY, read_words, split_words
from fedloom.shared.errors import EvaluationError
from tests.support.explained import bag_subject


def words(text: str) -> list[str]:
    return [text[start:end] for start, end in split_words(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("don't go, it's well-made!!", ["don't", "go", ",", "it's", "well-made", "!!"]),
        ("'quoted' :(", ["'", "quoted", "'", ":("]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("很好 good", ["很", "好", "good"]),
        ("  \n\t ", []),
    ],
)
def test_words_are_what_people_read(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_pieces_know_their_word_and_special_tokens_have_none(tmp_path: Path) -> None:
    subject = bag_subject(tmp_path)
    [read] = read_words(subject.scorer, ["good-bad, film"])
    assert read.words == ("good-bad", ",", "film")
    # [CLS] good - bad , film [SEP]
    assert read.owners == (NOBODY, 0, 0, 0, 1, 2, NOBODY)
    assert read.special == (True, False, False, False, False, False, True)


def test_a_text_over_the_length_is_cut_where_the_model_stops(tmp_path: Path) -> None:
    subject = bag_subject(tmp_path)
    text = " ".join(["good film"] * 30)
    [read] = read_words(subject.scorer, [text])
    assert len(read.words) == subject.scorer.max_length - 2
    assert read.text + read.unread == text
    both = subject.classify([text, read.text])
    assert (both[0] == both[1]).all()


def test_words_that_go_leave_others_apart(tmp_path: Path) -> None:
    subject = bag_subject(tmp_path)
    [read] = read_words(subject.scorer, ['the film "good" story '])
    assert read.without({2}) == 'the film good" story'
    assert read.without(range(6)) == ""
    assert read.only({1, 3}) == "film good"
    assert read.edited({3: "bad"}) == 'the film "bad" story'


def test_a_text_of_no_tokens_has_no_words(tmp_path: Path) -> None:
    [nothing, some] = read_words(bag_subject(tmp_path).scorer, ["", "film"])
    assert (nothing.words, some.words) == ((), ("film",))


def test_a_tokenizer_that_marks_nothing_special_still_fits(tmp_path: Path) -> None:
    """Without a first and a last token, an empty text has a token of its own."""
    subject = bag_subject(tmp_path)
    inner = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "film": 2}, "[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    plain = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", model_max_length=24
    )
    object.__setattr__(subject.scorer, "tokenizer", plain)
    [nothing, some] = read_words(subject.scorer, ["", "film"])
    assert nothing.special == (True,)
    assert some.owners == (0,)


def test_a_tokenizer_without_offsets_is_refused(tmp_path: Path) -> None:
    subject = bag_subject(tmp_path)
    object.__setattr__(subject.scorer, "tokenizer", object())
    with pytest.raises(EvaluationError, match="expected a fast one"):
        read_words(subject.scorer, ["film"])
