"""The gate: what releases, what holds, and what nobody can talk it out of."""

from collections.abc import Sequence
from typing import Literal

import pytest
from pydantic import ValidationError

from fedloom.server.evaluator.evaluation import Evaluation
from fedloom.server.release.decision import Decision, Evidence, Override, Ruling
from fedloom.server.release.gate import decide
from fedloom.server.report.schema import Report
from fedloom.shared.config.privacy import PrivacyTerms
from fedloom.shared.config.release import ReleaseSection
from fedloom.shared.errors import ReleaseError
from tests.support.plans import ROUNDS, STEPS, a_plan, a_site
from tests.support.released import (
    VALIDATION,
    Story,
    a_figure,
    an_audit,
    an_evaluation,
    bounded,
    rules,
)

EVIDENCE = Evidence(
    adapter_sha256="aa" * 32,
    plan_sha256="bb" * 32,
    terms_sha256="cc" * 32,
    report_sha256="dd" * 32,
    evaluation_sha256=None,
)
EVALUATED = an_evaluation(VALIDATION)
PLAIN_SITES = tuple(a_site(name, noise_multiplier=0.0, epsilon=None) for name in ("north", "south"))


def decided(
    section: ReleaseSection | None = None,
    evaluation: Evaluation | None = EVALUATED,
    *,
    report: Report | None = None,
    overrides: Sequence[Override] = (),
) -> Decision:
    return decide(
        section or ReleaseSection(),
        evaluation,
        report or Story().report(),
        evidence=EVIDENCE,
        overrides=overrides,
    )


def ruling(decision: Decision, name: str) -> Ruling:
    (found,) = (rule for rule in decision.rules if rule.name == name)
    return found


def an_override(rule: str) -> Override:
    return Override(rule=rule, by="A. Person", reason="for a test", at="2025-01-01T00:00:00Z")


def test_without_rules_a_private_run_within_its_budget_is_released() -> None:
    decision = decided()
    assert decision.released
    assert ruling(decision, "measured-epsilon.canaries").outcome == "not-measured"
    assert ruling(decision, "evaluated").outcome == "passed"


@pytest.mark.parametrize(
    ("evaluation", "why"),
    [
        (None, "there is no evaluation"),
        (an_evaluation(), "no audit measured a figure on 30 records or units at least (0 at most)"),
        (an_evaluation(an_audit("swaps", why_not="no names")), "(0 at most)"),
        (an_evaluation(an_audit("swaps")), "(0 at most)"),
        (an_evaluation(an_audit("swaps", a_figure("f", 1, 1, 1, records=29))), "(29 at most)"),
    ],
)
def test_what_nobody_evaluated_is_held_whatever_the_federation_asked_for(
    evaluation: Evaluation | None, why: str
) -> None:
    """Catches a gate that takes a file for evidence, and silence for consent."""
    decision = decided(evaluation=evaluation)
    (held,) = decision.held_by
    assert (held.name, held.outcome) == ("evaluated", "not-measured")
    assert held.note.endswith(why)
    assert decided(evaluation=evaluation, overrides=[an_override("evaluated")]).released


def test_what_the_base_model_was_measured_on_evaluates_no_adapter() -> None:
    ours = an_evaluation()
    base = an_evaluation(VALIDATION).subjects[0].model_copy(update={"name": "b", "kind": "base"})
    both = ours.model_copy(update={"subjects": (*ours.subjects, base)})
    assert not decided(evaluation=both).released


@pytest.mark.parametrize(
    ("records", "least", "outcome"),
    [(29, None, "not-measured"), (30, None, "passed"), (99, 100, "not-measured"), (5, 5, "passed")],
)
def test_a_figure_measured_on_too_few_records_is_not_measured(
    records: int, least: int | None, outcome: str
) -> None:
    more = {} if least is None else {"min_records": least}
    section = rules({"figure": "swaps.flips", "at_most": 0.2, **more})
    few = an_audit("swaps", a_figure("flips", 0.1, 0.05, 0.15, records=records))
    found = ruling(decided(section, an_evaluation(VALIDATION, few)), "swaps.flips.at_most")
    assert (found.outcome, found.holds) == (outcome, outcome != "passed")
    assert (found.records, found.value) == (records, 0.1)
    told = f"measured on {records} records or units, expected at least"
    assert told in found.note or not found.holds


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        # The figure is 0.8, its interval 0.75 to 0.85; what speaks against it decides.
        ({"at_least": 0.75}, True),
        ({"at_least": 0.7500001}, False),
        ({"at_least": 0.8, "bound": "value"}, True),
        ({"at_least": 0.8000001, "bound": "value"}, False),
        ({"at_least": 0.85, "bound": "high"}, True),
        ({"at_most": 0.85}, True),
        ({"at_most": 0.8499999}, False),
        ({"at_most": 0.8, "bound": "value"}, True),
        ({"at_most": 0.75, "bound": "low"}, True),
        ({"at_most": 0.7499999, "bound": "low"}, False),
    ],
)
def test_a_threshold_is_held_against_its_bound_and_is_inclusive(
    rule: dict[str, object], passes: bool
) -> None:
    """Catches the other end of the interval, and a strict comparison."""
    section = rules({"figure": "validation.macro_f1", **rule})
    decision = decided(section, an_evaluation(VALIDATION))
    (found,) = (each for each in decision.rules if each.figure == "validation.macro_f1")
    assert (found.outcome, decision.released) == ("passed" if passes else "failed", passes)
    assert (found.value, found.low, found.high) == (0.8, 0.75, 0.85)


@pytest.mark.parametrize("bound", [None, "low", "high"])
def test_a_figure_without_an_interval_reaches_no_bound_but_its_value(bound: str | None) -> None:
    """Catches a gate that takes the figure itself where the cautious end is not known."""
    exact = an_evaluation(an_audit("swaps", a_figure("flips", 0.1, None, None)))
    more = {} if bound is None else {"bound": bound}
    decision = decided(rules({"figure": "swaps.flips", "at_most": 0.2, **more}), exact)
    (held,) = decision.held_by
    assert (held.outcome, held.value) == ("not-measured", 0.1)
    assert "no 95 % interval" in held.note
    by_value = {"figure": "swaps.flips", "bound": "value"}
    assert decided(rules({**by_value, "at_most": 0.1}), exact).released
    assert not decided(rules({**by_value, "at_least": 0.1000001}), exact).released


@pytest.mark.parametrize(
    ("evaluation", "why"),
    [
        (None, "there is no evaluation"),
        (EVALUATED, "the audit swaps was not run"),
        (
            an_evaluation(VALIDATION, an_audit("swaps")),
            "the audit swaps has no figure flips, nor any other",
        ),
        (an_evaluation(VALIDATION, an_audit("swaps", why_not="no names")), "no names"),
    ],
)
def test_what_was_not_measured_holds_as_what_failed(
    evaluation: Evaluation | None, why: str
) -> None:
    decision = decided(rules({"figure": "swaps.flips", "at_most": 0.1}), evaluation)
    found = ruling(decision, "swaps.flips.at_most")
    assert (found.outcome, found.note) == ("not-measured", why)
    missing = [] if evaluation else ["evaluated"]
    assert [rule.name for rule in decision.held_by] == [*missing, "swaps.flips.at_most"]


def test_a_figure_of_another_adapter_in_the_evaluation_does_not_count() -> None:
    """Catches a gate that looks through all subjects: base or non-private may well reach it."""
    evaluation = an_evaluation(an_audit("swaps", a_figure("flips", 0.1, 0.1, 0.1)))
    other = evaluation.subjects[0].model_copy(update={"name": "other", "audits": (VALIDATION,)})
    both = evaluation.model_copy(update={"subjects": (other, *evaluation.subjects)})
    assert not decided(rules({"figure": "validation.macro_f1", "at_least": 0.1}), both).released


@pytest.mark.parametrize("audit", ["canaries"])
def test_a_measured_epsilon_above_the_claim_holds(audit: str) -> None:
    """The plan claims 1."""
    assert decided(None, an_evaluation(bounded(audit, 1.0))).released
    decision = decided(None, an_evaluation(bounded(audit, 1.0001)))
    (held,) = decision.held_by
    assert (held.name, held.outcome) == (f"measured-epsilon.{audit}", "failed")
    assert (held.value, held.at_most) == (1.0001, 1.0)


def with_most(value: float, most: float) -> Evaluation:
    """Canaries that measured `value`, and could have shown `most`."""
    found = bounded("canaries", value)
    could = a_figure("epsilon_most", most, None, None)
    return an_evaluation(found.model_copy(update={"figures": (*found.figures, could)}))


@pytest.mark.parametrize(
    ("value", "most", "outcome", "audited"),
    [
        (0.0, 0.99, "noted", "not-measured"),
        (0.0, 1.0, "passed", "passed"),
        (1.5, 3.0, "failed", "passed"),
        # Cannot be; what was measured counts.
        (1.5, 0.99, "failed", "not-measured"),
    ],
)
def test_canaries_too_few_to_contradict_the_claim_pass_nothing(
    value: float, most: float, outcome: str, audited: str
) -> None:
    """The plan claims 1. Catches an audit that passes because it could not have failed."""
    section = ReleaseSection(require_privacy_audit=True)
    decision = decided(section, with_most(value, most))
    measured = ruling(decision, "measured-epsilon.canaries")
    assert (measured.outcome, measured.value) == (outcome, value)
    assert ruling(decision, "privacy-audited").outcome == audited
    if outcome == "noted":
        assert measured.note == "could not have contradicted the claim"
        assert [rule.name for rule in decision.held_by] == ["privacy-audited"]


def test_requirements_hold_until_they_are_met() -> None:
    section = ReleaseSection(require_privacy_audit=True)
    assert [rule.name for rule in decided(section).held_by] == ["privacy-audited"]
    few = an_evaluation(VALIDATION, bounded("canaries", 0.3, records=29))
    assert [rule.name for rule in decided(section, few).held_by] == ["privacy-audited"]
    assert decided(section, an_evaluation(bounded("canaries", 0.3))).released


@pytest.mark.parametrize(
    ("story", "outcome"),
    [
        (Story(spent=0.8, allowed=0.8), "passed"),
        (Story(spent=0.8, allowed=0.79), "failed"),
        # Nothing of an earlier run is in it, so the plan's own promise counts too.
        (Story(spent=50.0, allowed=100.0), "failed"),
        # Two runs: what the site allows over all of them counts alone.
        (Story(spent=50.0, allowed=100.0, steps=2 * STEPS * ROUNDS), "passed"),
        (Story(spent=50.0, allowed=49.0, steps=2 * STEPS * ROUNDS), "failed"),
        (Story(spent=50.0, allowed=None, steps=2 * STEPS * ROUNDS), "not-measured"),
        # The journal is older than what the site said of itself, by another run's steps.
        (Story(spent=0.8, allowed=2.0, declared=1.9), "passed"),
        (Story(spent=0.8, allowed=2.0, declared=2.1), "failed"),
        (Story(spent=0.8, allowed=2.0, declared=0.0), "passed"),
        # Took part, and did not say; or said that nothing covers it.
        (Story(spent=None), "not-measured"),
        (Story(spent=None, allowed=None), "not-measured"),
        (Story(spent=0.8, declared="nothing"), "not-measured"),
    ],
)
def test_a_site_over_its_budget_holds(story: Story, outcome: str) -> None:
    decision = decided(report=story.report())
    assert ruling(decision, "budget.north").outcome == outcome
    assert decision.released == (outcome == "passed")


def test_the_accountants_last_digits_put_no_site_over_its_budget() -> None:
    planned = Story().report().epsilon_by_round["north"][-1]
    spent = Story(spent=planned * (1 + 5e-7), allowed=planned)
    assert decided(report=spent.report()).released
    assert not decided(report=Story(spent=planned * (1 + 5e-6)).report()).released


@pytest.mark.parametrize(
    ("declared", "outcome"), [(0.0, "noted"), ("nothing", "noted"), (2.1, "failed")]
)
def test_a_site_that_took_no_part_is_told_and_holds_nothing_unless_it_is_over(
    declared: float | Literal["nothing"], outcome: str
) -> None:
    story = Story(away=("north",), declared=declared, allowed=2.0)
    found = ruling(decided(report=story.report()), "budget.north")
    assert (found.outcome, found.holds) == (outcome, outcome == "failed")


def test_a_site_that_did_not_say_is_not_one_that_took_no_part() -> None:
    decision = decided(report=Story(spent=None).report())
    assert "took part and did not say" in ruling(decision, "budget.north").note
    assert [rule.name for rule in decision.held_by] == ["budget.north", "budget.south"]


def test_more_spent_than_allowed_fails_though_nothing_is_left_either_way() -> None:
    """`epsilon_left` is 0 both for all spent and for overspent."""
    report = Story(spent=0.8, allowed=1.0, declared=1.5).report()
    assert [site.epsilon_left for site in report.sites] == [0.0, 0.0]
    found = ruling(decided(report=report), "budget.north")
    assert (found.outcome, found.value, found.at_most) == ("failed", 1.5, 1.0)


def test_seeded_noise_holds_and_nobody_overrides_it() -> None:
    seeded = a_plan(privacy=PrivacyTerms(noise_multiplier=1.0, noise_seed=7))
    report = Story(plan=seeded).report()
    (held,) = decided(report=report).held_by
    assert held.name == "private-noise" and "NOT PRIVATE" in held.note
    with pytest.raises(ReleaseError, match="nobody may override"):
        decided(report=report, overrides=[an_override("private-noise")])


def test_a_run_without_privacy_is_told_and_its_measured_epsilon_is_noted() -> None:
    plain = a_plan(privacy=PrivacyTerms(mode="none"), sites=PLAIN_SITES)
    report = Story(plan=plain, spent=None).report()
    decision = decided(None, an_evaluation(bounded("canaries", 9.0)), report=report)
    assert decision.released
    assert ruling(decision, "trained-with-privacy").outcome == "noted"
    measured = ruling(decision, "measured-epsilon.canaries")
    assert (measured.outcome, measured.value) == ("noted", 9.0)


def test_an_override_releases_and_hides_nothing() -> None:
    section = rules({"figure": "validation.macro_f1", "at_least": 0.9})
    word = an_override("validation.macro_f1.at_least")
    decision = decided(section, an_evaluation(VALIDATION), overrides=[word])
    assert decision.released
    ((rule, found),) = decision.overridden
    assert (rule.outcome, rule.holds, found) == ("failed", True, word)


@pytest.mark.parametrize("name", ["validation.macro_f1.at_least", "evaluated", "nonsense"])
def test_an_override_of_what_holds_nothing_is_refused(name: str) -> None:
    """Else a word given in advance would hide a rule that fails later."""
    section = rules({"figure": "validation.macro_f1", "at_least": 0.1})
    with pytest.raises(ReleaseError, match=rf"override {name}: .* none: no rule holds it"):
        decided(section, an_evaluation(VALIDATION), overrides=[an_override(name)])


def test_one_override_leaves_the_other_rule_standing() -> None:
    section = rules(
        {"figure": "validation.macro_f1", "at_least": 0.9},
        {"figure": "swaps.flips", "at_most": 0.1},
    )
    words = [an_override("swaps.flips.at_most")]
    decision = decided(section, an_evaluation(VALIDATION), overrides=words)
    assert [rule.name for rule in decision.held_by] == ["validation.macro_f1.at_least"]
    with pytest.raises(ReleaseError, match="given twice"):
        decided(section, an_evaluation(VALIDATION), overrides=words * 2)


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "held"},
        {"overrides": [an_override("nonsense").model_dump()]},
        {"overrides": [an_override("evaluated").model_dump()]},
        {"rules": [], "outcome": "held"},
    ],
)
def test_a_decision_that_does_not_follow_from_its_rules_is_none(change: dict[str, object]) -> None:
    """Who reads one must not find a release in it that its own rules hold."""
    tree = decided().model_dump() | change
    with pytest.raises(ValidationError):
        Decision.model_validate(tree)


def test_a_failed_rule_cannot_be_written_as_released() -> None:
    held = decided(rules({"figure": "swaps.flips", "at_most": 0.1}))
    with pytest.raises(ValidationError, match="does not follow"):
        Decision.model_validate(held.model_dump() | {"outcome": "released"})


def test_the_digest_covers_every_word() -> None:
    decision = decided()
    assert Decision.model_validate_json(decision.to_json()).digest == decision.digest
    for change in (
        {"name": "other"},
        {"decided": "2001-01-01T00:00:00Z"},
        {"evidence": EVIDENCE.model_copy(update={"adapter_sha256": "ee" * 32})},
        {"rules": decision.rules[:-1]},
    ):
        assert decision.model_copy(update=change).digest != decision.digest
