"""Two federations after one another on the same records: what is left, and where it ends."""

from pathlib import Path

import pytest

from fedloom.client.ledger.ledger import Ledger
from fedloom.client.site.policy.document import BudgetSection, read_policy
from fedloom.client.site.steward import Steward
from fedloom.server.report.schema import Report
from fedloom.server.run.folder import RunFolder
from fedloom.shared.config.federation import read_federation
from fedloom.shared.errors import QuorumError
from fedloom.simulation.executors.serial import SerialExecutor
from fedloom.simulation.prepare import Prepared, prepare
from fedloom.simulation.progress import silent
from fedloom.simulation.site_app import app
from fedloom.simulation.study import StudyOptions, run_study
from tests.support.tiny import write_federation

ROUNDS = 3
PRIVATE = "noise_multiplier = 0.8\ndelta = 1e-4"


def a_federation(folder: Path, name: str, quorum: int) -> Prepared:
    path = write_federation(
        folder, rounds=ROUNDS, privacy=PRIVATE, rounds_more=f"quorum = {quorum}"
    )
    text = path.read_text(encoding="utf-8").replace('name = "tiny"', f'name = "{name}"')
    path.write_text(text, encoding="utf-8")
    return prepare(read_federation(path))


def run(prepared: Prepared, home: Path) -> Report:
    options = StudyOptions(sites=home / "sites")
    folder = RunFolder(home / prepared.plan.name)
    return run_study(prepared, folder, SerialExecutor(app), silent(), options)


def allow(home: Path, site: str, epsilon: float) -> None:
    """What a steward does: another budget, everything else as it was."""
    path = home / "sites" / site / "policy.toml"
    policy = read_policy(path)
    budget = BudgetSection.model_validate(policy.budget.model_dump() | {"epsilon": epsilon})
    path.write_text(policy.model_copy(update={"budget": budget}).to_toml(), encoding="utf-8")


def costs(report: Report, site: str) -> list[float]:
    told = [at for entry in report.rounds for at in entry.sites if at.site == site]
    return [at.epsilon_spent for at in told if at.epsilon_spent is not None]


@pytest.fixture
def first(tmp_path: Path) -> Report:
    return run(a_federation(tmp_path, "first", quorum=2), tmp_path)


def test_the_second_is_stopped_in_the_round_that_would_overspend(
    first: Report, tmp_path: Path
) -> None:
    """One site has budget for one more round, the others for all."""
    for site in ("site0", "site1", "site2"):
        allow(tmp_path, site, 100.0)
    second = run(a_federation(tmp_path, "second", quorum=2), tmp_path)
    after_one, after_two = costs(second, "site0")[:2]
    assert costs(first, "site0")[-1] < after_one < after_two

    allow(tmp_path, "site0", costs(second, "site0")[-1] + (after_two - after_one) * 1.5)
    third = run(a_federation(tmp_path, "third", quorum=2), tmp_path)
    (stop,) = third.stops
    assert (stop.site, stop.rule) == ("site0", "epsilon")
    assert stop.round == 1 + len(costs(third, "site0")) <= ROUNDS
    assert len(costs(third, "site1")) == ROUNDS, "the others go on"
    facts = {site.name: site for site in third.sites}
    assert facts["site0"].epsilon_left is not None
    assert 0 <= facts["site0"].epsilon_left < after_two - after_one
    head = facts["site0"].ledger_head
    ledger = Ledger(tmp_path / "sites" / "site0" / "state")
    assert head is not None and head.digest == ledger.head().digest
    steward = Steward.of(tmp_path / "sites" / "site0" / "site.toml")
    assert len(ledger.spent().history) and steward.policy.budget.epsilon > 0


def test_below_the_quorum_the_run_stops_and_nothing_is_charged(
    first: Report, tmp_path: Path
) -> None:
    """The first run took the whole budget of every site."""
    before = [Ledger(tmp_path / "sites" / f"site{at}" / "state").entries() for at in range(3)]
    with pytest.raises(QuorumError, match="site0: refused: epsilon"):
        run(a_federation(tmp_path, "second", quorum=2), tmp_path)
    after = [Ledger(tmp_path / "sites" / f"site{at}" / "state").entries() for at in range(3)]
    assert before == after
