"""`[release]`: what people read when it is wrong, and where it is written down."""

from pathlib import Path

import pytest

from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.starting import want_again, want_run
from fedloom.server.evaluator.kept_suite import read_kept
from fedloom.server.evaluator.suite import read_suite
from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.federation import read_federation
from fedloom.shared.config.release import ReleaseSection, read_terms
from fedloom.shared.errors import ConfigError, ReleaseError
from fedloom.shared.wire.frame import Frame
from tests.support.deployed import declare_units
from tests.support.flower_server import some_keys
from tests.support.plans import a_plan
from tests.support.released import rules
from tests.support.tiny import write_federation

TERMS = rules(
    {"figure": "validation.macro_f1", "at_least": 0.7},
    {"figure": "validation.macro_f1", "at_most": 1, "bound": "value"},
    require_privacy_audit=True,
    intended_use='Two lines,\nand "quotes".',
)


A_FIGURE = "release.rules[1].figure: got 'macro_f1', expected AUDIT.KEY, such as swaps.flip_rate"


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ('figure = "a.b"', "release.rules[1]: expected exactly one of at_least and at_most, got n"),
        ('figure = "a.b"\nat_least = 1.0\nat_most = 2.0', "release.rules[1]: expected exactly one"),
        ('figure = "macro_f1"\nat_least = 1.0', A_FIGURE),
        ('figure = "a.b"\nat_laest = 1.0', "release.rules[1].at_laest: unknown key, did you mean "),
        ('figure = "a.b"\nat_least = "x"', "release.rules[1].at_least: got 'x'"),
        ('figure = "a.b"\nat_least = nan', "release.rules[1].at_least: got nan"),
        ('figure = "a.b"\nat_least = true', "release.rules[1].at_least: got True"),
        ('figure = "a.b"\nat_least = 1.0\nmin_records = 0', "release.rules[1].min_records: got 0"),
        ("require_evaluation = false", "release.require_evaluation: unknown key"),
        ('figure = "a.b"\nat_least = 1.0\nbound = "mean"', "release.rules[1].bound: got 'mean'"),
        (
            'figure = "a.b"\nat_least = 1.0\n[[release.rules]]\nfigure = "a.b"\nat_least = 2.0',
            "release: two rules set a.b.at_least, expected one",
        ),
    ],
)
def test_a_wrong_rule_is_named(tmp_path: Path, written: str, problem: str) -> None:
    """Above all one that would else be no threshold at all."""
    rule = "" if written.startswith("require") else "[[release.rules]]\n"
    path = write_federation(tmp_path, more=f"[release]\n{rule}{written}\n")
    with pytest.raises(ConfigError) as caught:
        read_federation(path)
    assert any(line.startswith(problem) for line in caught.value.problems), caught.value.problems


def test_what_was_promised_reads_back_the_same(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create(a_plan(), TERMS)
    assert read_terms(run.release) == TERMS
    bare = RunFolder(tmp_path / "bare")
    bare.create(a_plan())
    assert read_terms(bare.release) == ReleaseSection()


def test_terms_that_are_gone_do_not_mean_that_there_were_none(tmp_path: Path) -> None:
    """Else whoever takes the file away releases anything."""
    with pytest.raises(ReleaseError, match="expected what was promised when the run began"):
        read_terms(tmp_path / "release.toml")


def test_a_deployed_run_writes_down_its_terms_and_suite_when_it_is_wanted(tmp_path: Path) -> None:
    home = ServerHome(tmp_path / "server")
    home.write_sites({f"site{number}": some_keys() for number in range(3)})
    more = '[release]\n[[release.rules]]\nfigure = "canaries.auc"\nat_most = 0.5\n'
    federation = write_federation(tmp_path, more=f'suite = "suite.toml"\n{more}')
    suite = tmp_path / "suite.toml"
    suite.write_text('[suite]\nname = "s"\n[audits.validation]\n', encoding="utf-8")
    declare_units(federation)
    config = read_federation(federation)
    begun = want_run(home, config)
    assert read_terms(begun.folder.release) == config.release
    assert [rule.name for rule in config.release.rules] == ["canaries.auc.at_most"]
    kept = read_kept(begun.folder)
    assert kept is not None and kept.sha256 == read_suite(suite).sha256
    assert want_again(home, begun.name).note is None
    suite.write_text('[suite]\nname = "s"\n[audits.groups]\n', encoding="utf-8")
    note = want_again(home, begun.name).note
    assert note is not None and "changed since the run began" in note
    again = read_kept(begun.folder)
    assert again is not None and again.sha256 == kept.sha256


def test_a_deployed_run_does_not_begin_without_the_records_of_its_suite(tmp_path: Path) -> None:
    """What it is judged by would be chosen later, or missed after hours of training."""
    home = ServerHome(tmp_path / "server")
    home.write_sites({f"site{number}": some_keys() for number in range(3)})
    federation = write_federation(tmp_path, more='suite = "suite.toml"\n')
    declare_units(federation)
    suite = '[suite]\nname = "s"\n[records]\npath = "own.csv"\n[audits.validation]\n'
    (tmp_path / "suite.toml").write_text(suite, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"records\.path: no file .*own\.csv, expected"):
        want_run(home, read_federation(federation))
    assert not list(home.runs.glob("*"))


def test_a_frames_digest_knows_where_its_header_ends() -> None:
    """Else a site could later say that it released another update than it did."""
    frames = [Frame(header="ab", payload=b"c"), Frame(header="a", payload=b"bc")]
    assert len({frame.sha256 for frame in frames}) == 2
