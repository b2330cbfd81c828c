"""A coordinator, who has no records, sees what its federation would do before it is wanted."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from fedloom.cli.main import cli
from fedloom.server.deploy.wanted import runs_of
from fedloom.shared.errors import DataError
from tests.support.deployed import UNITS, change, declare_units
from tests.support.flower_server import some_keys
from tests.support.kits import provisioned
from tests.support.tiny import write_federation


def fedloom(*words: object) -> str:
    done = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def federation(tmp_path: Path) -> Path:
    path = write_federation(tmp_path)
    declare_units(path)
    return path


def without_records(federation: Path) -> Path:
    for path in federation.parent.glob("*.csv"):
        path.unlink()
    return federation


def test_declared_sizes_need_no_records_and_give_the_same_plan(federation: Path) -> None:
    with_them = fedloom("plan", federation, "--toml")
    without_records(federation)
    assert "valid; 3 sites" in fedloom("config", "validate", federation)
    assert fedloom("plan", federation, "--toml") == with_them


def test_without_one_of_the_sizes_records_are_missed(federation: Path) -> None:
    path = write_federation(federation.parent / "undeclared")
    without_records(path)
    done = CliRunner().invoke(cli, ["config", "validate", str(path)])
    assert "data.sites site0: no file" in str(done.exception)
    with pytest.raises(DataError, match="no such file"):
        fedloom("plan", path)


def test_a_run_says_what_it_asks_of_each_site_before_it_is_followed(
    federation: Path, tmp_path: Path
) -> None:
    change(federation, privacy={"epsilon": 5.0, "delta": 1e-4})
    text = federation.read_text()
    federation.write_text("\n".join(line for line in text.splitlines() if "noise_" not in line))
    home = provisioned(tmp_path / "kits").home
    home.write_sites({f"site{number}": some_keys() for number in range(3)})
    said = fedloom("server", "run", without_records(federation), "--kit", home.path, "--no-follow")
    ((folder, _),) = runs_of(home)
    noise = folder.read_plan().sites[0].noise_multiplier
    words = f"{UNITS} units, 4 steps in 2 rounds, noise {noise:.3f}, epsilon 5.00 at delta 0.0001"
    assert [line.strip() for line in said.splitlines()[1:]] == [
        f"site{number}  {words}" for number in range(3)
    ]
