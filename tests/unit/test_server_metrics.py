"""A server's metrics and its page: right numbers, and one damaged run hides no other."""

from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from fedloom.server.deploy.home import ServerHome
from fedloom.server.deploy.metrics import ServerMetrics
from fedloom.server.deploy.settings import ServerSettings
from fedloom.server.deploy.status import status_lines
from fedloom.server.run.budgets import keep_budgets
from fedloom.server.run.folder import RunFolder
from fedloom.server.run.journal import Journal, RoundEntry, SiteRound
from fedloom.shared.wire.messages import DeclaredBudget
from tests.support.flower_server import want
from tests.support.training import make_plan


def a_site(name: str, fault: str | None = None, rule: str | None = None) -> SiteRound:
    return SiteRound(site=name, fault=fault, refused_by=rule, bytes_up=1, bytes_down=1)


def a_round(number: int, *sites: SiteRound) -> RoundEntry:
    counted = sum(site.fault is None for site in sites)
    return RoundEntry(
        round=number, accepted=counted, seconds=1.5 * number, adapter_sha256="ab", sites=sites
    )


@pytest.fixture
def home(tmp_path: Path, tiny_model: Path) -> ServerHome:
    found = ServerHome(tmp_path)
    found.write_settings(ServerSettings(federation="ours", host="localhost"))
    folder = want(found, "one", created=1.0)
    folder.plan.write_text(make_plan(tiny_model).to_toml())
    journal = Journal(folder.rounds)
    journal.append(a_round(1, a_site("north"), a_site("south", "refused", "budget")))
    # A round whose checkpoint a crash prevented is told again.
    journal.append(a_round(2, a_site("north", "no answer"), a_site("south", "no answer")))
    journal.append(a_round(2, a_site("north"), a_site("south", "no answer")))
    left = DeclaredBudget(unit="record", delta=1e-5, epsilon_allowed=8.0, epsilon_spent=2.5)
    none = left.model_copy(update={"epsilon_spent": None})
    keep_budgets(folder.budgets, {"north": left, "south": none})
    bad = want(found, "bad", created=2.0, state="given-up")
    bad.plan.write_text("no plan")
    return found


def scraped(home: ServerHome) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(ServerMetrics(home))
    text = generate_latest(registry).decode()
    return {
        (sample.name.removeprefix("fedloom_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_is_scraped_is_what_happened(home: ServerHome) -> None:
    found = scraped(home)
    assert found.pop(("scraped_seconds",)) > 1.7e9
    assert found == {
        ("run_wanted", "one"): 1, ("run_rounds_done", "one"): 2, ("run_rounds_total", "one"): 1,
        ("round_accepted", "one"): 1, ("round_seconds", "one"): 3.0, ("run_damaged", "one"): 0,
        ("site_rounds_missed", "one", "north"): 0, ("site_rounds_missed", "one", "south"): 2,
        ("site_rounds_refused", "one", "north"): 0, ("site_rounds_refused", "one", "south"): 1,
        ("site_epsilon_allowed", "one", "north"): 8, ("site_epsilon_spent", "one", "north"): 2.5,
        ("site_epsilon_allowed", "one", "south"): 8, ("run_damaged", "bad"): 1,
    }  # fmt: skip


@pytest.mark.parametrize("file", ["rounds.jsonl", "budgets.json", "plan.toml", "wanted.json"])
def test_a_damaged_run_hides_no_other(home: ServerHome, file: str) -> None:
    (RunFolder(home.runs / "one").path / file).write_text("{\n")
    sound = want(home, "sound", created=3.0)
    sound.plan.write_bytes(b"")
    assert scraped(home)["run_damaged", "sound"] == 1
    if file != "wanted.json":
        assert scraped(home)["run_damaged", "one"] == 1


def test_the_registry_may_ask_what_there_is_before_the_first_run(tmp_path: Path) -> None:
    assert list(scraped(ServerHome(tmp_path))) == [("scraped_seconds",)]


def test_the_page_tells_a_damaged_run_and_goes_on(
    home: ServerHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedloom.server.deploy.status._nodes", lambda _: {})
    page = "\n".join(status_lines(home))
    assert "processes superlink DOWN, proxy DOWN, keeper DOWN" in page
    assert "run       one: wanted, 2 of 1 rounds" in page
    assert "site south: no answer, last in round 2" in page
    assert "budget of north as the run began: epsilon 2.50 of 8 spent" in page
    assert "run       bad: DAMAGED" in page
