"""Records with sites and groups, out of a file: order, and one clear line for what is wrong."""

from pathlib import Path

import pytest

from fedloom.server.evaluator.corpus import Benchmarks
from fedloom.server.evaluator.records import read_corpus
from fedloom.server.evaluator.sections import RecordsSection
from fedloom.shared.errors import DataError

LABELS = ("negative", "positive")
ROWS = """text,label,clinic,sex
one,positive,north,f
two,negative,south,m
three,negative,north,m
"""


def _section(
    tmp_path: Path, text: str = ROWS, *, name: str = "r.csv", **more: object
) -> RecordsSection:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return RecordsSection.model_validate({"path": path, **more})


def test_groups_stay_with_their_records_when_sites_are_put_together(tmp_path: Path) -> None:
    """In the file's order, two's group would go to three."""
    section = _section(tmp_path, site="clinic", groups=("sex",))
    corpus = read_corpus(section, labels=LABELS, benchmarks=Benchmarks())
    assert [record.text for record in corpus.joint] == ["one", "three", "two"]
    assert corpus.sites == ("north", "north", "south")
    assert corpus.groups == {"sex": ("f", "m", "m")}


def test_without_a_site_column_there_is_one_site(tmp_path: Path) -> None:
    corpus = read_corpus(_section(tmp_path), labels=LABELS, benchmarks=Benchmarks())
    assert len(corpus.tests) == 1
    assert [record.label for record in corpus.joint] == [1, 0, 0]
    assert corpus.groups == {}


def test_a_column_says_whose_each_record_is(tmp_path: Path) -> None:
    """By it units are told apart, each at its site; without it every row is one."""
    lines = ("text,label,clinic,who", "a,positive,north,7", "b,negative,south,7")
    rows = "\n".join((*lines, "c,negative,north,7", ""))
    for column, units in (("who", (0, 0, 1)), ("record", None)):
        section = _section(tmp_path, rows, site="clinic", unit=column)
        corpus = read_corpus(section, labels=LABELS, benchmarks=Benchmarks())
        assert (corpus.unit, corpus.units.clusters) == (column, units)
    section = _section(tmp_path, rows + "four,positive,north,\n", unit="who")
    with pytest.raises(DataError, match="row 4, column who: no privacy unit"):
        read_corpus(section, labels=LABELS, benchmarks=Benchmarks())


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    for wrong in ({"site": "ward"}, {"groups": ("ward",)}, {"unit": "ward"}):
        with pytest.raises(DataError, match=r"r\.csv: no column ward"):
            read_corpus(_section(tmp_path, **wrong), labels=LABELS, benchmarks=Benchmarks())


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_group_is_named_by_row_and_shows_nothing(tmp_path: Path, empty: str) -> None:
    section = _section(tmp_path, ROWS + f"secret,positive,south,{empty}\n", groups=("sex",))
    with pytest.raises(DataError, match="row 4, column sex: no value") as caught:
        read_corpus(section, labels=LABELS, benchmarks=Benchmarks())
    assert "secret" not in str(caught.value)


def test_a_group_that_jsonl_leaves_out_or_nulls_is_empty_and_a_number_is_a_name(
    tmp_path: Path,
) -> None:
    first = '{"text": "one", "label": "positive", "age": 7}\n'
    section = _section(tmp_path, first, name="r.jsonl", groups=("age",))
    corpus = read_corpus(section, labels=LABELS, benchmarks=Benchmarks())
    assert corpus.groups == {"age": ("7",)}
    for bad in ("", ', "age": null'):
        text = first + f'{{"text": "two", "label": "negative"{bad}}}\n'
        section = _section(tmp_path, text, name="r.jsonl", groups=("age",))
        with pytest.raises(DataError, match="row 2, column age"):
            read_corpus(section, labels=LABELS, benchmarks=Benchmarks())


def test_a_label_outside_the_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 1, column label"):
        read_corpus(_section(tmp_path), labels=("yes", "no"), benchmarks=Benchmarks())
