"""`federation.toml`: what is accepted, and what people read when it is not."""

from contextlib import suppress
from pathlib import Path

import pytest

from fedloom.cli.commands.config import TEMPLATE
from fedloom.shared.config.federation import FederationConfig, read_federation
from fedloom.shared.errors import ConfigError

SMALLEST = """\
[federation]
name = "tiny"
[model]
path = "model"
[task]
labels = ["negative", "positive"]
[privacy]
epsilon = 8.0
[data]
[[data.sites]]
name = "north"
path = "north.csv"
[[data.sites]]
name = "south"
path = "south.csv"
"""


def read(folder: Path, text: str) -> FederationConfig:
    path = folder / "federation.toml"
    path.write_text(text, encoding="utf-8")
    return read_federation(path)


def problems(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return caught.value.problems


def test_the_smallest_file_has_about_fifteen_lines_and_is_valid(tmp_path: Path) -> None:
    assert len(SMALLEST.splitlines()) <= 16
    config = read(tmp_path, SMALLEST)
    assert [site.name for site in config.data.sites] == ["north", "south"]
    assert config.privacy.private
    assert not config.privacy.seeded


def test_every_line_of_the_smallest_file_is_needed(tmp_path: Path) -> None:
    # A default that crept in (say for labels, or for privacy) would show here.
    for needed in ('name = "tiny"', 'path = "model"', "labels", "epsilon", 'path = "north.csv"'):
        kept = [line for line in SMALLEST.splitlines() if not line.startswith(needed)]
        assert problems(tmp_path, "\n".join(kept)), needed


@pytest.mark.parametrize(
    ("old", "new", "where", "nearest"),
    [
        ("epsilon = 8.0", "epsilonn = 8.0", "privacy.epsilonn", "epsilon"),
        ("[model]", "[modle]", "modle", "model"),
        ('name = "south"', 'nmae = "south"', "data.sites[2].nmae", "name"),
        ("[data]", '[data]\ntxet = "body"', "data.txet", "text"),
        (
            "[privacy]",
            "[training]\nlocal_step = 3\n[privacy]",
            "training.local_step",
            "local_steps",
        ),
    ],
)
def test_an_unknown_key_names_place_and_nearest(
    tmp_path: Path, old: str, new: str, where: str, nearest: str
) -> None:
    found = problems(tmp_path, SMALLEST.replace(old, new))
    assert f"{where}: unknown key, did you mean {nearest}?" in found


def test_an_unknown_key_like_nothing_lists_the_known_ones(tmp_path: Path) -> None:
    found = problems(tmp_path, SMALLEST.replace("[model]", "[model]\nzzzzzz = 1"))
    assert found == ("model.zzzzzz: unknown key, expected one of max_length, path, quantization",)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = (
        SMALLEST.replace("epsilon = 8.0", "epsilon = -1")
        .replace('name = "tiny"', 'name = "no spaces please"')
        .replace('path = "south.csv"', "")
        .replace("[model]", "[rounds]\ntotal = 0\n[lora]\nrnk = 4\n[model]")
    )
    found = problems(tmp_path, text)
    for where in (
        "federation.name",
        "privacy.epsilon",
        "data.sites[2].path",
        "rounds.total",
        "lora.rnk",
    ):
        assert [line for line in found if line.startswith(f"{where}:")], where
    message = str(ConfigError("f.toml", found))
    assert f"{len(found)} problems" in message
    assert len(message.splitlines()) == len(found) + 1


@pytest.mark.parametrize(
    ("privacy", "words"),
    [
        ("epsilon = 8.0\nnoise_multiplier = 1.0", ("exactly one of", "got both")),
        ('mode = "none"\nepsilon = 8.0', ('mode "none" contradicts epsilon',)),
        ('mode = "none"\nnoise_multiplier = 1.0', ('mode "none" contradicts noise_multiplier',)),
        ('mode = "none"\nclipping = "automatic"', ("contradicts clipping",)),
        ('mode = "none"\ndelta = 1e-6\nclip_norm = 2.0', ("clip_norm", "delta")),
        ("delta = 1e-5", ("exactly one of", "got neither")),
    ],
)
def test_contradicting_privacy_is_refused(
    tmp_path: Path, privacy: str, words: tuple[str, ...]
) -> None:
    (line,) = problems(tmp_path, SMALLEST.replace("epsilon = 8.0", privacy))
    assert line.startswith("privacy: ")
    for word in words:
        assert word in line


def test_a_mistyped_epsilon_never_means_no_privacy(tmp_path: Path) -> None:
    # The misspelt key must not leave a config that trains without noise.
    assert problems(tmp_path, SMALLEST.replace("epsilon = 8.0", "Epsilon = 8.0"))


@pytest.mark.parametrize(
    ("old", "new", "where", "got", "expected"),
    [
        ("epsilon = 8.0", "epsilon = 0", "privacy.epsilon", "got 0", "greater than 0"),
        ("epsilon = 8.0", "epsilon = inf", "privacy.epsilon", "got inf", "finite"),
        ("epsilon = 8.0", "epsilon = nan", "privacy.epsilon", "got nan", "expected"),
        ("epsilon = 8.0", 'epsilon = "high"', "privacy.epsilon", "got 'high'", "valid number"),
        ("epsilon = 8.0", "epsilon = 1.0\ndelta = 1.0", "privacy.delta", "got 1.0", "less than 1"),
        ("[task]", "[rounds]\ntotal = 2.5\n[task]", "rounds.total", "got 2.5", "integer"),
        ("[task]", "[rounds]\ntotal = 0\n[task]", "rounds.total", "got 0", "or equal to 1"),
        ("[task]", "[lora]\ndropout = 1.0\n[task]", "lora.dropout", "got 1.0", "less than 1"),
        ("[task]", "lora = 3\n[task]", "lora", "got 3", "LoraRequest"),
        ('path = "model"', "path = 3", "model.path", "got 3", "valid string"),
        ('["negative", "positive"]', '["one"]', "task", "labels are ['one']", "at least 2"),
        ('["negative", "positive"]', "[]", "task", "labels are []", "at least 2"),
        (
            'name = "tiny"',
            'name = "../x"',
            "federation.name",
            "got '../x'",
            "letters, digits, - and _",
        ),
        (
            'name = "north"',
            'name = "a/b"',
            "data.sites[1].name",
            "got 'a/b'",
            "letters, digits, - and _",
        ),
        (
            "[task]",
            '[training]\noptimizer = "lamb"\n[task]',
            "training.optimizer",
            "got 'lamb'",
            "'sgd' or 'adam'",
        ),
    ],
)
def test_a_wrong_value_shows_got_and_expected(
    tmp_path: Path, old: str, new: str, where: str, got: str, expected: str
) -> None:
    text = SMALLEST.replace(old, new)
    if new.startswith("lora"):
        text = "lora = 3\n" + SMALLEST
    lines = [line for line in problems(tmp_path, text) if line.startswith(f"{where}: ")]
    assert len(lines) == 1
    assert got in lines[0]
    assert expected in lines[0]


def test_a_long_wrong_value_is_cut(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, SMALLEST.replace('name = "tiny"', f'name = "{"x" * 5000}"'))
    assert len(line) < 200


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epsilon = 8.0", "epsilon = true"),
        ("epsilon = 8.0", 'epsilon = "8"'),
        ("[task]", "[rounds]\ntotal = true\n[task]"),
    ],
)
def test_a_boolean_or_text_is_no_number(tmp_path: Path, old: str, new: str) -> None:
    assert problems(tmp_path, SMALLEST.replace(old, new))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.toml"
    with pytest.raises(ConfigError, match="no such file") as caught:
        read_federation(path)
    assert caught.value.source == str(path)


@pytest.mark.parametrize("content", [b"= 3", b"[a\n", b"\xff\xfe\x00", b"a = 1\na = 2\n"])
def test_what_is_no_toml_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "federation.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not TOML"):
        read_federation(path)


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 5000 + "]" * 5000])
def test_monstrous_toml_is_a_config_error(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text)


def test_relative_paths_are_taken_from_the_files_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    (home / "model").mkdir(parents=True)
    elsewhere.mkdir()
    absolute = elsewhere / "south.csv"
    (home / "federation.toml").write_text(SMALLEST.replace("south.csv", str(absolute)))
    monkeypatch.chdir(elsewhere)
    config = read_federation(Path("../home/federation.toml"))
    north, south = config.data.sites
    assert north.path == home.resolve() / "north.csv"
    assert south.path == absolute
    assert config.model.path == str(home.resolve() / "model")


def test_a_hub_id_stays_a_hub_id(tmp_path: Path) -> None:
    config = read(tmp_path, SMALLEST.replace('"model"', '"google-bert/bert-base-uncased"'))
    assert config.model.path == "google-bert/bert-base-uncased"


def test_an_overlong_model_path_is_no_os_error(tmp_path: Path) -> None:
    with suppress(ConfigError):
        read(tmp_path, SMALLEST.replace('"model"', f'"{"a" * 300}"'))


def test_a_quorum_above_the_sites_is_refused(tmp_path: Path) -> None:
    text = SMALLEST + "[rounds]\nquorum = {}\n"
    assert problems(tmp_path, text.format(3)) == (
        "rounds.quorum is 3, expected at most the 2 sites",
    )
    assert read(tmp_path, text.format(2)).rounds.quorum == 2


def test_more_head_rounds_than_rounds_are_refused(tmp_path: Path) -> None:
    text = SMALLEST + "[rounds]\ntotal = 2\n[training]\nhead_rounds = {}\n"
    assert problems(tmp_path, text.format(3)) == (
        "training.head_rounds is 3, expected at most rounds.total = 2",
    )
    assert read(tmp_path, text.format(2)).training.head_rounds == 2


def test_metrics_that_no_round_or_no_epsilon_holds_are_refused(tmp_path: Path) -> None:
    text = SMALLEST + "[rounds]\ntotal = 2\n[metrics]\nvalues = ['held-out-accuracy']\n"
    (line,) = problems(tmp_path, text)
    assert line.startswith("metrics.every is 10, expected at most rounds.total = 2")
    text += "every = 2\n"
    assert read(tmp_path, text).metrics.measures(2)
    (line,) = problems(tmp_path, text.replace("epsilon = 8.0", 'mode = "none"'))
    assert line.startswith('metrics.values contradicts privacy.mode "none"')
    assert not read(tmp_path, SMALLEST).metrics.values


def test_two_sites_of_one_name_are_refused(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, SMALLEST.replace('"south"', '"north"'))
    assert line.startswith("data: two sites are named north")


def test_a_label_listed_twice_is_refused(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, SMALLEST.replace('"positive"', '"negative"'))
    assert line.startswith("task: labels are listed twice")


def test_one_mistake_in_the_only_site_is_one_problem(tmp_path: Path) -> None:
    one_site = SMALLEST.split("[[data.sites]]")
    text = one_site[0] + "[[data.sites]]" + one_site[1].replace("path", "pth")
    found = problems(tmp_path, text)
    assert not [line for line in found if "at least 1 item" in line]


def test_the_template_of_config_init_is_valid(tmp_path: Path) -> None:
    assert read(tmp_path, TEMPLATE).federation.name == "my-federation"
