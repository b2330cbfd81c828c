"""`fedloom ledger`, as a steward and an auditor use it."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fedloom.cli.main import main
from fedloom.client.ledger.entries import charge_of
from fedloom.shared.wire.frame import Frame
from tests.support.ledgers import begun
from tests.support.plans import a_task
from tests.support.sites import a_policy, a_site_config, write_settings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site file, and a ledger with one released round and one that broke off."""
    path = write_settings(a_site_config(tmp_path), a_policy(epsilon=8.0))
    ledger = begun(tmp_path / "state")
    for number in (1, 2):
        ledger.reserve(charge_of(a_task(round_number=number)))
    ledger.seal(charge_of(a_task()), Frame(header="{}", payload=b""))
    return path


@pytest.fixture
def fedloom(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fedloom", "ledger", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    return run


def test_a_steward_sees_what_is_spent_and_what_broke_off(site: Path, fedloom: Run) -> None:
    code, out, _ = fedloom("show", site)
    assert code == 0
    assert "site     north\n" in out and "head     4 " in out
    assert "for each record, add-or-remove-one-unit, accountant prv, 4 steps" in out
    assert f"2 rounds, 4 steps; reserved, not released: {a_task(round_number=2).sha256}" in out
    assert "allowed  epsilon 8\n" in out


def test_a_steward_voids_what_broke_off_and_nothing_else(site: Path, fedloom: Run) -> None:
    code, out, _ = fedloom("void", site, a_task(round_number=2).sha256)
    assert (code, out.count("\n")) == (0, 1) and "voided round 2" in out
    code, _, err = fedloom("void", site, a_task().sha256)
    assert code == 1 and "released already, expected a reserved one" in err
    assert "2 steps" in fedloom("show", site)[1]


def test_an_auditor_verifies_what_a_site_exports(site: Path, tmp_path: Path, fedloom: Run) -> None:
    out_file = tmp_path / "ledger.json"
    code, out, _ = fedloom("export", site, "--out", out_file)
    key = out.split()[-1]
    assert code == 0 and "4 entries" in out
    code, out, _ = fedloom("verify", out_file, "--key", key.upper())
    assert code == 0 and "site     north\n" in out and "4 steps" in out
    code, _, err = fedloom("verify", out_file, "--key", "0" * 64)
    assert code == 1 and "signed by key" in err
    code, _, err = fedloom("export", site, "--out", out_file)
    assert code == 1 and "exists already" in err


def test_a_site_that_never_ran_has_no_ledger_and_gets_none(
    site: Path, tmp_path: Path, fedloom: Run
) -> None:
    text = site.read_text().replace('state"', 'other"')
    site.write_text(text)
    code, _, err = fedloom("show", site)
    assert (code, err.count("\n")) == (1, 1) and "no such file" in err
    assert not (tmp_path / "other").exists()
