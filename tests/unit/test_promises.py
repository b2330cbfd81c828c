"""What was promised of an adapter must be measurable before anything trains."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedloom.cli.main import cli
from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.starting import want_run
from fedloom.server.evaluator.promises import check_promises, promise_problems
from fedloom.shared.config.federation import read_federation
from fedloom.shared.errors import ConfigError
from tests.support.deployed import declare_units
from tests.support.flower_server import some_keys
from tests.support.tiny import write_federation

SUITE = '[suite]\nname = "s"\n[audits.validation]\n[audits.swaps]\n'
RULE = '[[release.rules]]\nfigure = "{}"\nat_most = 0.1\n'


def promising(folder: Path, *figures: str, suite: str | None = SUITE) -> Path:
    rules = "".join(map(RULE.format, figures))
    named = "" if suite is None else 'suite = "suite.toml"\n'
    path = write_federation(folder, more=named + rules)
    if suite:
        (folder / "suite.toml").write_text(suite, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("figures", "suite", "said"),
    [
        (["validation.macro_f1", "swaps.flip_rate", "canaries.auc"], SUITE, []),
        (["canaries.auc"], None, []),
        ([], None, []),
        (
            ["validation.macro_f1", "swpas.flip_rate", "zzz.a.b"],
            SUITE,
            [
                "release.rules[2].figure: audit swpas is not in the suite, did you mean swaps?",
                "release.rules[3].figure: audit zzz is not in the suite, expected one of "
                "validation, swaps, canaries",
            ],
        ),
        # An audit that there is, and that this suite does not run.
        (["bbq.bias"], SUITE, ["release.rules[1].figure: audit bbq is not in the suite, expected"]),
        (["canaries.auc", "swaps.flip_rate"], None, ["release.rules need evaluation.suite"]),
        ([], SUITE + "[audits.zzz]\n[audits.bqb]\n", ["audits.zzz: unknown", "audits.bqb: unkno"]),
        ([], "", ["no such file, expected a suite of audits"]),
    ],
)
def test_each_promise_that_nothing_measures_is_named(
    tmp_path: Path, figures: list[str], suite: str | None, said: list[str]
) -> None:
    """A rule on a figure that is never measured holds every adapter, after all the training."""
    config = read_federation(promising(tmp_path, *figures, suite=suite))
    found = promise_problems(config)
    assert len(found) == len(said)
    for line, part in zip(found, said, strict=True):
        assert part in line
    if said:
        with pytest.raises(ConfigError, match="federation tiny: "):
            check_promises(config)
    else:
        check_promises(config)


@pytest.mark.parametrize(("more", "said"), [("", False), ('unit = "record"', True)])
def test_whose_the_coordinators_own_records_are_must_be_said_if_units_are_persons(
    tmp_path: Path, more: str, said: bool
) -> None:
    """Else ten rows of one patient count as ten, in intervals and in groups that are named."""
    suite = SUITE + f'[records]\npath = "own.csv"\n{more}\n'
    config = read_federation(promising(tmp_path, suite=suite))
    assert promise_problems(config) == []
    privacy = config.privacy.model_copy(update={"unit": "author"})
    found = promise_problems(config.model_copy(update={"privacy": privacy}))
    assert ["records.unit is not said" in line for line in found] == ([] if said else [True])


@pytest.mark.parametrize(
    "asked",
    [
        lambda path: ["config", "validate", str(path)],
        lambda path: ["plan", str(path)],
        lambda path: ["simulate", str(path), "--out", str(path.parent / "run")],
    ],
)
def test_commands_say_it_before_they_begin(
    tmp_path: Path, asked: Callable[[Path], list[str]]
) -> None:
    path = promising(tmp_path, "swpas.flip_rate")
    found = CliRunner().invoke(cli, asked(path))
    assert found.exit_code == 1
    assert isinstance(found.exception, ConfigError) or "did you mean swaps?" in found.output
    assert "did you mean swaps?" in f"{found.exception}{found.output}"
    assert not (tmp_path / "run").exists()


def test_validate_names_them_with_all_that_is_missing(tmp_path: Path) -> None:
    path = promising(tmp_path, "swpas.flip_rate")
    (tmp_path / "site1.csv").unlink()
    found = CliRunner().invoke(cli, ["config", "validate", str(path)])
    told = f"{found.exception}{found.output}"
    assert "data.sites site1: no file" in told and "did you mean swaps?" in told


def test_a_deployed_run_is_not_wanted(tmp_path: Path) -> None:
    path = promising(tmp_path, "swpas.flip_rate")
    declare_units(path)
    home = ServerHome(tmp_path / "server")
    home.write_sites({f"site{number}": some_keys() for number in range(3)})
    with pytest.raises(ConfigError, match="did you mean swaps"):
        want_run(home, read_federation(path))
    assert not home.runs.exists()
