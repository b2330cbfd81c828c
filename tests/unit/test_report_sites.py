"""What a report is made of: each site's budget, its ledger's head, and where it stopped."""

from collections.abc import Sequence

import pytest

from fedloom.server.report.build import Findings, build_report
from fedloom.server.report.facts import LedgerFacts, SiteFacts, Stop
from fedloom.server.report.schema import Report, Timings
from fedloom.server.report.sites import stop_in_words, stops_of
from fedloom.server.run.journal import RoundEntry, SiteRound
from fedloom.shared.config.privacy import PrivacyTerms
from fedloom.shared.plan import Plan
from fedloom.shared.wire.heads import LedgerHead
from fedloom.shared.wire.messages import DeclaredBudget
from tests.support.plans import a_plan, a_site, an_adapter

HEAD = LedgerHead(public_key="9f" * 32, number=7, digest="ab" * 32, signature="cd" * 64)


def a_budget(spent: float | None, *, allowed: float = 8.0) -> DeclaredBudget:
    return DeclaredBudget(unit="record", delta=1e-5, epsilon_allowed=allowed, epsilon_spent=spent)


def took_part(site: str, *, spent: float | None = 1.0) -> SiteRound:
    return SiteRound(
        site=site, fault=None, bytes_up=4, bytes_down=8, epsilon_spent=spent, steps_spent=2
    )


def refused(site: str, rule: str) -> SiteRound:
    return SiteRound(site=site, fault=f"refused: {rule}", refused_by=rule, bytes_up=0, bytes_down=8)


def a_round(number: int, *sites: SiteRound) -> RoundEntry:
    accepted = sum(site.fault is None for site in sites)
    return RoundEntry(
        round=number, accepted=accepted, seconds=1.0, adapter_sha256="ad" * 32, sites=sites
    )


def report_of(
    rounds: Sequence[RoundEntry],
    *,
    plan: Plan | None = None,
    heads: dict[str, LedgerHead] | None = None,
    budgets: dict[str, DeclaredBudget] | None = None,
) -> Report:
    findings = Findings(
        adapter=an_adapter(),
        rounds=rounds,
        heads=heads or {},
        budgets=budgets or {},
        curve=(),
        arms=(),
        omitted=(),
        holdout="test",
        timings=Timings(train=1, compare=0, evaluate=1, total=2),
    )
    return build_report(plan or a_plan(), findings)


def north(report: Report) -> SiteFacts:
    return next(site for site in report.sites if site.name == "north")


def test_each_site_has_its_own_head() -> None:
    """Catches heads mixed up between sites, and a missing one that stops the report."""
    report = report_of([a_round(1, took_part("north"))], heads={"north": HEAD})
    found = {site.name: site.ledger_head for site in report.sites}
    head = LedgerFacts(number=7, digest="ab" * 32, public_key="9f" * 32)
    assert found == {"north": head, "south": None}
    assert Report.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize(
    ("declared", "spent", "left"),
    [
        (0.0, (2.0, 5.0), 3.0),
        # What was spent before the run, and a last update that did not count.
        (6.5, (), 1.5),
        (6.5, (2.0, 5.0), 1.5),
        (0.0, (2.0, 8.1), 0.0),
        (None, (2.0,), None),
    ],
)
def test_what_is_left_is_what_the_newest_figure_leaves(
    declared: float | None, spent: Sequence[float], left: float | None
) -> None:
    """Catches the first round's figure, a sum over rounds, and less than nothing left."""
    rounds = [
        a_round(number, took_part("south", spent=0.5), took_part("north", spent=each))
        for number, each in enumerate(spent, start=1)
    ]
    found = north(report_of(rounds, budgets={"north": a_budget(declared)}))
    assert found.epsilon_left == (None if left is None else pytest.approx(left))
    assert found.epsilon_allowed == 8.0


def test_an_update_that_did_not_count_changes_nothing() -> None:
    rounds = [
        a_round(1, took_part("north", spent=2.0)),
        a_round(2, took_part("north", spent=6.0).model_copy(update={"fault": "rejected: late"})),
    ]
    assert north(report_of(rounds, budgets={"north": a_budget(0.0)})).epsilon_left == 6.0


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
def test_a_run_that_promises_nothing_has_no_budget(changes: dict[str, object]) -> None:
    """Catches a figure that looks like a guarantee where noise was repeatable or missing."""
    plan = a_plan(**changes)
    found = north(
        report_of([a_round(1, took_part("north"))], plan=plan, budgets={"north": a_budget(0.0)})
    )
    assert (found.epsilon_allowed, found.epsilon_left) == (None, None)


def test_a_site_that_declared_nothing_has_no_budget() -> None:
    found = north(report_of([a_round(1, took_part("north"))], budgets={"south": a_budget(0.0)}))
    assert (found.epsilon_allowed, found.epsilon_left) == (None, None)
    assert found.epsilon_spent == 1.0


STOPPED = (
    a_round(1, took_part("north"), refused("south", "ledger-behind")),
    a_round(2, refused("north", "epsilon"), took_part("south")),
    a_round(3, refused("north", "epsilon"), refused("south", "ledger-behind")),
    a_round(4, refused("north", "start"), took_part("south")),
)


def test_each_rule_is_named_with_its_first_round() -> None:
    """Catches the last round, a line for every round, and a second rule that is swallowed."""
    wanted = (
        Stop(site="south", round=1, rule="ledger-behind"),
        Stop(site="north", round=2, rule="epsilon"),
        Stop(site="north", round=4, rule="start"),
    )
    assert report_of(STOPPED).stops == wanted
    assert stops_of([a_round(1, took_part("north"))]) == ()


def test_a_site_that_failed_did_not_refuse() -> None:
    """A fault's words are partly a peer's: they are never taken for a rule."""
    failed = took_part("north").model_copy(update={"fault": "rejected: refused: epsilon"})
    assert stops_of([a_round(1, failed)]) == ()


def test_stops_in_words() -> None:
    said = [stop_in_words(stop, STOPPED) for stop in stops_of(STOPPED)]
    assert said == [
        "south first refused at round 1, by its rule ledger-behind",
        "north stopped at round 2: its ledger has no budget left for it (rule epsilon); "
        "the others went on",
        "north first refused at round 4, by its rule start",
    ]


def test_others_that_did_not_go_on_are_not_counted() -> None:
    """Catches a note that says the others went on when half of them had failed as well."""
    west = took_part("west").model_copy(update={"fault": "failed while training"})
    rounds = [a_round(1, refused("north", "epsilon"), took_part("south"), west)]
    assert stop_in_words(stops_of(rounds)[0], rounds).endswith("; 1 of 2 others went on")


def test_a_site_that_came_back_did_not_stop() -> None:
    """A steward may raise the budget and the run be resumed."""
    rounds = (*STOPPED, a_round(5, took_part("north"), took_part("south")))
    said = stop_in_words(stops_of(rounds)[1], rounds)
    assert said == "north had no budget left at round 2 (rule epsilon), and took part again later"
    # Another site's return is not north's.
    others = (*STOPPED, a_round(5, refused("north", "epsilon"), took_part("south")))
    assert "north stopped at round 2" in stop_in_words(stops_of(others)[1], others)
