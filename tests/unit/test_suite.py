"""A suite's file: what is read, and how each mistake is told."""

from pathlib import Path

import pytest

from fedloom.server.evaluator.audits.registry import AUDITS
from fedloom.server.evaluator.suite import read_suite
from fedloom.shared.errors import ConfigError

PLAIN = '[suite]\nname = "ours"\n[audits.validation]\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "suite.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[suite]\nname = 'x'\n[audits.validaton]\n", "unknown audit, did you mean validation"),
        ("[suite]\nname = 'x'\n[audits.zzz]\n", "audits.zzz: unknown audit, expected one of"),
        ("[suite]\nname = 'x'\n[audits.validation]\nresample = 3\n", "did you mean resamples"),
        ("[suite]\nname = 'x'\n[audits]\n", "audits"),
        ("[audits.validation]\n", "suite: missing"),
        ("[suite]\nname = 'x'\nbatch = 3\n[audits.validation]\n", "did you mean batch_size"),
        ("not toml", "not TOML"),
        (PLAIN.replace("[audits", "not_compared = ['bbq']\n[audits"), "none of the suite's audits"),
    ],
)
def test_each_mistake_is_one_line_that_names_it(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as found:
        read_suite(written(tmp_path, text))
    assert said in str(found.value)
    assert len(str(found.value).splitlines()) == 1


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = PLAIN + "resamples = 0\n[audits.vlaidation]\n[audits.groups]\nmin_group = 0\n"
    with pytest.raises(ConfigError) as found:
        read_suite(written(tmp_path, text))
    assert len(found.value.problems) == 3


def test_the_suite_that_comes_along_can_be_read_and_a_file_of_its_name_goes_first(
    tmp_path: Path,
) -> None:
    assert set(read_suite(tmp_path / "default").audits) <= set(AUDITS)
    (tmp_path / "default").write_text(PLAIN, encoding="utf-8")
    assert set(read_suite(tmp_path / "default").audits) == {"validation"}


def test_a_missing_suite_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file, expected a suite of audits"):
        read_suite(tmp_path / "none.toml")


def test_records_are_taken_from_beside_the_suite(tmp_path: Path) -> None:
    found = read_suite(written(tmp_path, PLAIN + '[records]\npath = "more.csv"\n'))
    assert found.records is not None
    assert found.records.path == tmp_path / "more.csv"


def test_the_digest_is_of_all_options_written_or_not(tmp_path: Path) -> None:
    plain = read_suite(written(tmp_path, PLAIN)).sha256
    assert read_suite(written(tmp_path, PLAIN + "resamples = 1000\n")).sha256 == plain
    assert read_suite(written(tmp_path, PLAIN + "resamples = 1001\n")).sha256 != plain
