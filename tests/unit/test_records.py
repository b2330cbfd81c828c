"""Reading records: the same from every format, and errors that hold no record."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedloom.shared.data.records import (
    BadRow,
    Record,
    RecordSource,
    count_units,
    group_by_unit,
    read_records,
    read_rows,
)
from fedloom.shared.errors import DataError
from tests.support.tiny import sentences, write_csv, write_jsonl

LABELS = ("negative", "positive")
PERSON = "Mrs Rosalind Marchetti"


def read(path: Path, *, labels: tuple[str, ...] = LABELS, unit: str = "record") -> list[Record]:
    source = RecordSource(path=path, text="text", label="label", unit=unit)
    return read_records(source, labels=labels)


def refusal(path: Path, *, labels: tuple[str, ...] = LABELS, unit: str = "record") -> str:
    with pytest.raises(DataError) as caught:
        read(path, labels=labels, unit=unit)
    return str(caught.value)


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_parquet(path: Path, rows: list[dict[str, str]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


AWKWARD = [
    {"text": 'with "quotes", commas', "label": "positive", "author": "01"},
    {"text": "two\nlines", "label": "negative", "author": "1"},
    {"text": "größer 日本 🙂", "label": "positive", "author": "NA"},
    {"text": "  spaces kept  ", "label": "negative", "author": "null"},
    {"text": "#no comment", "label": "positive", "author": "True"},
    {"text": "1e5", "label": "negative", "author": "1.0"},
]


@pytest.mark.parametrize("unit", ["record", "author"])
def test_all_formats_give_the_same_records(tmp_path: Path, unit: str) -> None:
    rows = AWKWARD + sentences(20, seed=1)
    expected = [
        Record(
            text=row["text"],
            label=LABELS.index(row["label"]),
            unit=row["text"] if unit == "record" else row["author"],
            answer=row["label"],
        )
        for row in rows
    ]
    assert read(write_csv(tmp_path / "r.csv", rows), unit=unit) == expected
    assert read(write_jsonl(tmp_path / "r.jsonl", rows), unit=unit) == expected
    assert read(write_parquet(tmp_path / "r.parquet", rows), unit=unit) == expected


def test_a_suffix_in_capitals_is_known(tmp_path: Path) -> None:
    assert len(read(write_csv(tmp_path / "R.CSV", sentences(3, seed=1)))) == 3


def test_csv_texts_that_look_like_nothing_survive(tmp_path: Path) -> None:
    # pandas would read these as NaN, 1 and 100000.0.
    path = written(tmp_path / "r.csv", "text,label\nNA,01\nnull,1\n1e5,01\nnan,1\nTrue,1\n")
    found = [(record.text, record.label) for record in read(path, labels=("01", "1"))]
    assert found == [("NA", 0), ("null", 1), ("1e5", 0), ("nan", 1), ("True", 1)]


def test_csv_units_keep_their_zeros(tmp_path: Path) -> None:
    # 01 and 1 are two patients; read as numbers they would share one budget.
    path = written(tmp_path / "r.csv", "text,label,who\na,positive,01\nb,positive,1\n")
    assert [record.unit for record in read(path, unit="who")] == ["01", "1"]


def test_integer_labels_in_jsonl(tmp_path: Path) -> None:
    path = written(tmp_path / "r.jsonl", '{"text":"a","label":1}\n{"text":"b","label":0}\n')
    assert [record.label for record in read(path, labels=("0", "1"))] == [1, 0]


@pytest.mark.parametrize("missing", ["text", "label", "who"])
def test_a_missing_column_names_file_and_known_columns(tmp_path: Path, missing: str) -> None:
    columns = [column for column in ("text", "label", "who") if column != missing]
    path = written(tmp_path / "r.csv", f"{','.join(columns)}\n{PERSON},positive\n")
    message = refusal(path, unit="who")
    assert str(path) in message
    assert f"no column {missing}, expected it; there is {', '.join(columns)}" in message
    assert PERSON not in message


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl", "r.parquet"])
def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, name: str) -> None:
    assert "empty file" in refusal(written(tmp_path / name, ""))


def test_a_csv_with_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    assert "no rows" in refusal(written(tmp_path / "r.csv", "text,label\n"))


def test_a_parquet_without_rows_has_no_rows(tmp_path: Path) -> None:
    schema = pa.schema([("text", pa.string()), ("label", pa.string())])
    pq.write_table(schema.empty_table(), tmp_path / "r.parquet")
    assert "no rows" in refusal(tmp_path / "r.parquet")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_wrong_label_names_the_place_and_no_value(tmp_path: Path, suffix: str) -> None:
    rows = sentences(4, seed=1)
    rows[2] = {"text": f"{PERSON} said so", "label": "HIV-positive", "author": "p77"}
    path = tmp_path / f"r.{suffix}"
    {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}[suffix](path, rows)
    message = refusal(path, unit="author")
    assert f"{path}, row 3, column label" in message
    assert "expected one of negative, positive" in message
    for value in (PERSON, "HIV", "p77"):
        assert value not in message


@pytest.mark.parametrize("label", ["", " positive", "POSITIVE"])
def test_labels_are_compared_exactly(tmp_path: Path, label: str) -> None:
    path = written(tmp_path / "r.csv", f"text,label\na,{label}\n")
    assert "row 1, column label" in refusal(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", 'text,label\na,positive\n"  ",negative\n'),
        ("r.csv", "text,label\na,positive\n,negative\n"),
        ("r.jsonl", '{"text":"a","label":"positive"}\n{"text":null,"label":"negative"}\n'),
        ("r.jsonl", '{"text":"a","label":"positive"}\n{"label":"negative"}\n'),
    ],
)
def test_an_empty_text_names_its_row(tmp_path: Path, name: str, content: str) -> None:
    path = written(tmp_path / name, content)
    assert refusal(path) == f"{path}, row 2, column text: no text, expected some in UTF-8"


def test_an_empty_unit_in_csv_names_its_row(tmp_path: Path) -> None:
    path = written(tmp_path / "r.csv", "text,label,who\na,positive,x\nb,negative,\n")
    assert refusal(path, unit="who") == f"{path}, row 2, column who: no privacy unit"


@pytest.mark.parametrize(
    "row", ['{"text":"b","label":"negative"}', '{"text":"b","label":"negative","who":null}']
)
def test_a_missing_unit_in_jsonl_names_its_row(tmp_path: Path, row: str) -> None:
    path = written(tmp_path / "r.jsonl", f'{{"text":"a","label":"positive","who":"x"}}\n{row}\n')
    assert refusal(path, unit="who") == f"{path}, row 2, column who: no privacy unit"


@pytest.mark.parametrize("units", [pa.array(["x", None]), pa.array([1.0, float("nan")])])
def test_a_missing_unit_in_parquet_names_its_row(tmp_path: Path, units: pa.Array) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "label": list(LABELS), "who": units}), path)
    assert refusal(path, unit="who") == f"{path}, row 2, column who: no privacy unit"


def test_jsonl_texts_that_look_like_dates_survive(tmp_path: Path) -> None:
    path = written(tmp_path / "r.jsonl", '{"text":"2020-01-01","label":"positive"}\n')
    assert read(path)[0].text == "2020-01-01"


def test_an_unknown_suffix_lists_the_known_ones(tmp_path: Path) -> None:
    message = refusal(written(tmp_path / "r.xlsx", "x"))
    assert "expected one of .csv, .jsonl, .parquet" in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.csv") == f"{tmp_path / 'none.csv'}: no such file"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.parquet", b"PAR1" + PERSON.encode() + b"PAR1"),
        ("r.parquet", PERSON.encode()),
    ],
    ids=["parquet-body", "not-parquet"],
)
def test_a_damaged_file_is_one_error_without_its_content(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = written(tmp_path / name, content)
    message = refusal(path)
    assert message == f"{path}: cannot be read as {path.suffix[1:]}, or has no rows"


GOOD_CSV, GOOD_JSON = b"a,positive\n", b'{"text":"a","label":"positive"}\n'


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("r.jsonl", f'{{"text":{PERSON}\n'.encode()),
        ("r.jsonl", f'["{PERSON}"]\n'.encode()),
        ("r.jsonl", f'{{"text":["{PERSON}"],"label":"positive"}}\n'.encode()),
        ("r.jsonl", b'{"text":4711,"label":"positive"}\n'),
        ("r.jsonl", b'{"text":null,"label":"positive"}\n'),
        ("r.jsonl", b'{"label":"positive"}\n'),
        ("r.jsonl", b"[" * 100_000 + b"\n"),
        ("r.jsonl", b'{"text":"caf\xe9","label":"positive"}\n'),
        ("r.csv", f"{PERSON},negative,extra\n".encode()),
        ("r.csv", PERSON.encode() + b"\n"),
        ("r.csv", b"caf\xe9 " + PERSON.encode() + b",positive\n"),
        ("r.csv", b"\x00,positive,\n"),
    ],
)
def test_one_odd_row_is_one_bad_row(tmp_path: Path, name: str, bad: bytes) -> None:
    """A site that gave up for one record would tell the server of it."""
    header, good = (b"text,label\n", GOOD_CSV) if name == "r.csv" else (b"", GOOD_JSON)
    (tmp_path / name).write_bytes(header + good * 3 + bad + good * 3)
    source = RecordSource(path=tmp_path / name, text="text", label="label")
    rows = read_rows(source, labels=("negative", "positive"))
    bad_rows = [at for at, row in enumerate(rows) if isinstance(row, BadRow)]
    assert len(rows) == 7 and bad_rows == [3]
    assert PERSON not in refusal(tmp_path / name)


@pytest.mark.parametrize("length", [10, 1_000_000])
def test_an_unclosed_quote_takes_what_follows_and_no_more(tmp_path: Path, length: int) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(b"text,label\n" + GOOD_CSV * 3 + b'"' + b"x" * length + b"\n")
    rows = read_rows(RecordSource(path=path, text="text", label="label"), labels=("positive",))
    assert [isinstance(row, BadRow) for row in rows] == [False] * 3 + [True]


def test_a_forgotten_header_does_not_print_a_record(tmp_path: Path) -> None:
    path = written(tmp_path / "r.csv", f"{PERSON} has a cough,positive\n{PERSON},negative\n")
    assert PERSON not in refusal(path)


def test_a_truncated_parquet_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "r.parquet", sentences(50, seed=1))
    path.write_bytes(path.read_bytes()[:-40])
    assert "cannot be read as parquet" in refusal(path)


READ_ALL = """
import sys
from pathlib import Path
from fedloom.shared.data.records import RecordSource, read_records
from fedloom.shared.errors import DataError
for name in sys.argv[1:]:
    try:
        source = RecordSource(path=Path(name), text="text", label="label")
        read_records(source, labels=("negative", "positive"))
        print("read")
    except DataError:
        print("refused")
"""


def test_reading_leaves_no_copy_of_a_record_behind(tmp_path: Path) -> None:
    # The reading library caches what it reads unless told otherwise; a fresh process, so that
    # it takes its folders from these variables.
    rows = [{"text": f"{PERSON} {n}", "label": "positive", "author": "p"} for n in range(30)]
    data = tmp_path / "data"
    data.mkdir()
    files = [
        write_csv(data / "r.csv", rows),
        write_jsonl(data / "r.jsonl", rows),
        write_parquet(data / "r.parquet", rows),
        written(data / "bad.jsonl", f'{{"text":"{PERSON}","label":"positive"}}\n{{"text":{PERSON}'),
        write_csv(data / "bad.csv", [*rows, {"text": PERSON, "label": "other", "author": "p"}]),
    ]
    home = tmp_path / "home"
    places = {name: str(home / name) for name in ("TMPDIR", "XDG_CACHE_HOME", "HF_HOME", "HOME")}
    places["HF_DATASETS_CACHE"] = str(home / "HF_HOME" / "datasets")
    for place in places.values():
        Path(place).mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, *map(str, files)],
        env=os.environ | places,
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["read"] * 3 + ["refused"] * 2
    assert PERSON not in done.stderr
    left = [path for path in home.rglob("*") if path.is_file()]
    assert not [path for path in left if PERSON.encode() in path.read_bytes()]
    assert not list((home / "TMPDIR").iterdir())
    # Arrow files could hold the text in a form that the search above does not see.
    assert not [path for path in left if path.suffix in {".arrow", ".parquet", ".csv", ".jsonl"}]


def units_of(*names: str) -> list[Record]:
    return [Record(text=f"t{at}", label=0, unit=name) for at, name in enumerate(names)]


def test_grouping_by_a_column_keeps_a_persons_records_together() -> None:
    records = units_of("b", "a", "b", "c", "a", "b")
    assert group_by_unit(records, unit="author") == ((0, 2, 5), (1, 4), (3,))
    assert count_units(iter(records), unit="author") == 3


def test_with_records_as_units_every_row_stands_alone() -> None:
    # Equal texts share the split's key, and are still two units.
    records = units_of("same", "same", "other")
    assert group_by_unit(records, unit="record") == ((0,), (1,), (2,))
    assert count_units(records, unit="record") == 3
