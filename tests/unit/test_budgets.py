"""What sites say is left of their budgets: kept beside the run, and told at its start."""

import json
import logging
from pathlib import Path

import pytest

from fedloom.server.discovery import FoundSite
from fedloom.server.remaining import tell_remaining
from fedloom.server.run.budgets import keep_budgets, read_budgets
from fedloom.shared.config.privacy import PrivacyTerms
from fedloom.shared.errors import CheckpointError
from fedloom.shared.plan import Plan
from fedloom.shared.wire.messages import DeclaredBudget
from tests.support.plans import a_plan, a_site


def a_budget(spent: float | None, *, allowed: float = 8.0, unit: str = "patient") -> DeclaredBudget:
    return DeclaredBudget(unit=unit, delta=1e-5, epsilon_allowed=allowed, epsilon_spent=spent)


def test_the_newest_word_of_each_site_is_kept(tmp_path: Path) -> None:
    """Catches an older word that wins, a site that was not reached and is forgotten, and a
    budget that is kept though its site does not stand by it any more."""
    path = tmp_path / "budgets.json"
    assert read_budgets(path) == {}
    keep_budgets(path, {"north": a_budget(0.0), "south": a_budget(1.0), "west": a_budget(None)})
    keep_budgets(path, {"north": a_budget(0.1 + 0.2), "west": None})
    assert read_budgets(path) == {"north": a_budget(0.1 + 0.2), "south": a_budget(1.0)}
    keep_budgets(path, {"south": a_budget(None)})
    assert read_budgets(path)["south"] == a_budget(None)


def test_budgets_survive_a_write_that_a_crash_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a file that is written in place."""
    path = tmp_path / "budgets.json"
    keep_budgets(path, {"north": a_budget(1.0)})

    def crash(self: Path, target: Path) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(OSError, match="power cut"):
        keep_budgets(path, {"north": a_budget(2.0)})
    assert read_budgets(path) == {"north": a_budget(1.0)}


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"north": 1}', b'{"north": {"unit": "r"}}'])
def test_damaged_budgets_are_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "budgets.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"budgets.json: damaged, expected the sites' bud"):
        read_budgets(path)
    with pytest.raises(CheckpointError):
        keep_budgets(path, {"north": a_budget(1.0)})
    assert path.read_bytes() == content


def test_a_budget_with_a_number_that_is_none_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "budgets.json"
    keep_budgets(path, {"north": a_budget(1.0)})
    said = json.loads(path.read_bytes())
    said["north"]["epsilon_spent"] = -1
    path.write_text(json.dumps(said))
    with pytest.raises(CheckpointError):
        read_budgets(path)


def told(
    caplog: pytest.LogCaptureFixture, plan: Plan, **budgets: DeclaredBudget | None
) -> list[tuple[str, str]]:
    """Level and text of each line."""
    sites = {name: FoundSite(node=1, budget=budget) for name, budget in budgets.items()}
    with caplog.at_level(logging.INFO, logger="fedloom.server"):
        tell_remaining(plan, sites)
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_an_untouched_budget_that_is_enough_goes_to_the_log_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = told(caplog, a_plan(), south=a_budget(0.0), north=a_budget(0.0))
    whole = "epsilon 0.00 of 8 spent, 8.00 left, at delta 1e-05 for each patient"
    assert lines == [("INFO", f"site north: {whole}"), ("INFO", f"site south: {whole}")]


def test_what_was_spent_before_is_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    """Each site of the plan that was found, and no other."""
    lines = told(caplog, a_plan(), south=a_budget(2.5), other=a_budget(2.5))
    left = "epsilon 2.50 of 8 spent, 5.50 left, at delta 1e-05 for each patient"
    assert lines == [("WARNING", f"site south: {left}")]


def test_less_left_than_the_plan_takes_is_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    plan = a_plan(sites=(a_site("north", epsilon=3.0), a_site("south", epsilon=3.0)))
    lines = told(caplog, plan, north=a_budget(0.0, allowed=2.0), south=a_budget(0.0, allowed=3.0))
    assert [level for level, _ in lines] == ["WARNING", "INFO"]
    assert lines[0][1].endswith(
        "for each patient; the plan takes 3.00, its rounds trained so far included"
    )
    assert "takes" not in lines[1][1]


@pytest.mark.parametrize("budget", [None, a_budget(None)])
def test_a_site_that_cannot_spend_is_said_aloud(
    caplog: pytest.LogCaptureFixture, budget: DeclaredBudget | None
) -> None:
    ((level, text),) = told(caplog, a_plan(), north=budget)
    assert level == "WARNING"
    words = "does not say what is left" if budget is None else "no epsilon is left"
    assert words in text


@pytest.mark.parametrize(
    "changes",
    [
        {"privacy": PrivacyTerms(noise_multiplier=1.0, delta=1e-5, noise_seed=7)},
        {
            "privacy": PrivacyTerms(mode="none"),
            "sites": (a_site(noise_multiplier=0.0, epsilon=None),),
        },
    ],
    ids=["seeded", "without privacy"],
)
def test_a_run_that_promises_nothing_is_not_warned_about(
    caplog: pytest.LogCaptureFixture, changes: dict[str, object]
) -> None:
    """Its ledger is covered by no epsilon, as it was meant to be."""
    assert [level for level, _ in told(caplog, a_plan(**changes), north=a_budget(None))] == ["INFO"]


def test_a_sites_words_cannot_leave_their_line(caplog: pytest.LogCaptureFixture) -> None:
    ((_, text),) = told(caplog, a_plan(), north=a_budget(1.0, unit="x\x1b[2J\nsite south: fine"))
    assert text.endswith("for each x?[2J?site south: fine")
