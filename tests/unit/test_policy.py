"""The site's policy: every rule refuses by its own name, on the site's own arithmetic."""

import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from fedloom.client.ledger.entries import charge_of
from fedloom.client.ledger.spending import Spent
from fedloom.client.site.config import SiteConfig, read_site_config
from fedloom.client.site.policy.asked import Asked, Facts
from fedloom.client.site.policy.document import Policy, read_policy
from fedloom.client.site.policy.rules import check_task
from fedloom.shared.config.mitigation import MitigationSection
from fedloom.shared.config.privacy import PrivacyTerms
from fedloom.shared.config.sections import LoraSection, TaskSection
from fedloom.shared.errors import ConfigError, SiteRefusal
from fedloom.shared.plan import Plan
from fedloom.shared.privacy.accounting import Mechanism, prv_epsilon
from fedloom.shared.wire.messages import RefusalHeader, TrainTask
from tests.support.plans import BATCH, ROUNDS, STEPS, UNITS, a_plan, a_site, a_task, a_training
from tests.support.sites import a_policy, a_site_config, write_settings


def facts(
    *history: Mechanism,
    units: frozenset[str] = frozenset(),
    plain: bool = False,
    seeded: bool = False,
    steps: int = 0,
    rounds: int = 0,
) -> Facts:
    spent = Spent(
        history=history,
        rounds=rounds,
        steps=steps,
        units=units,
        without_privacy=plain,
        seeded=seeded,
    )
    return Facts(model_sha256="ab" * 32, spent=spent)


NOTHING = facts()
RUN = Mechanism(noise_multiplier=1.0, sample_rate=BATCH / UNITS, steps=STEPS * ROUNDS)
COST = prv_epsilon([RUN], 1e-5)

SWAPPING = MitigationSection(counterfactuals=("gender",))
WEIGHTED = MitigationSection(group_column="sex", weights={"f": 2.0})


class Site(NamedTuple):
    config: SiteConfig
    policy: Policy


def a_config(*, name: str = "north", units: int = UNITS, **policy: object) -> Site:
    config = a_site_config(Path(), name=name, declared_units=units)
    return Site(config, a_policy(**policy))


def check(task: TrainTask, site: Site, facts: Facts) -> None:
    check_task(Asked(task=task, config=site.config, policy=site.policy, facts=facts))


def refused(
    plan: Plan, site: Site, facts: Facts = NOTHING, *, round_number: int = 1
) -> SiteRefusal:
    with pytest.raises(SiteRefusal) as caught:
        check(a_task(plan=plan, round_number=round_number), site, facts)
    # What the server is told must pass its own check of a refusal.
    RefusalHeader(site="north", rule=caught.value.rule)
    return caught.value


def with_site(**changes: object) -> Plan:
    return a_plan(sites=(a_site(**changes), a_site("south")))


def targeting(*targets: str) -> Plan:
    return a_plan(lora=LoraSection(targets=targets))


def without_privacy(**privacy: object) -> Plan:
    return a_plan(
        privacy=PrivacyTerms(mode="none", **privacy),
        sites=(a_site(noise_multiplier=0.0, epsilon=None),),
    )


def test_a_task_within_every_limit_passes() -> None:
    for number in range(1, ROUNDS + 1):
        check(a_task(round_number=number), a_config(), NOTHING)


@pytest.mark.parametrize(
    ("rule", "plan", "config"),
    [
        ("site-name", a_plan(), a_config(name="east")),
        ("base-model", a_plan(model=a_plan().model.model_copy(update={"sha256": "cd" * 32})), None),
        ("declared-units", with_site(declared_units=UNITS + 1), None),
        ("declared-units", a_plan(), a_config(units=UNITS - 1)),
        # Named lower than it is, so that the recomputed epsilon would be too small.
        ("sample-rate", with_site(sample_rate=BATCH / UNITS / 10), None),
        ("sample-rate", with_site(sample_rate=BATCH / UNITS * 1.0001), None),
        ("sample-rate", a_plan(training=a_training(expected_batch_size=BATCH * 2)), None),
        ("steps", with_site(steps=STEPS * ROUNDS - 1), None),
        ("steps", with_site(steps=1), None),
        (
            "privacy-unit",
            a_plan(privacy=PrivacyTerms(noise_multiplier=1.0, unit="author")),
            None,
        ),
        ("private-training", without_privacy(), None),
        ("seeded-noise", a_plan(privacy=PrivacyTerms(noise_multiplier=1.0, noise_seed=0)), None),
        ("min-units", a_plan(), a_config(min_units=UNITS + 1)),
        ("delta", a_plan(privacy=PrivacyTerms(noise_multiplier=1.0, delta=1.1e-5)), None),
        (
            "delta",
            a_plan(privacy=PrivacyTerms(noise_multiplier=1.0, delta=1e-3)),
            a_config(delta=0.5),
        ),
        ("max-steps", a_plan(), a_config(max_steps=STEPS * ROUNDS - 1)),
        ("labels", a_plan(task=TaskSection(labels=("negative", "positive", "neutral"))), None),
        ("labels", a_plan(task=TaskSection(labels=("positive", "negative"))), None),
        ("noise-multiplier", with_site(noise_multiplier=0.0), None),
        ("noise-multiplier", with_site(noise_multiplier=0.29), None),
        ("noise-multiplier", a_plan(), a_config(min_noise_multiplier=1.01)),
        ("epsilon-per-run", a_plan(), a_config(epsilon=COST * 0.99)),
        ("epsilon-per-run", a_plan(), a_config(epsilon=99.0, epsilon_per_run=COST * 0.99)),
        ("epsilon-per-run", with_site(noise_multiplier=0.4), a_config(epsilon=COST)),
        ("max-rounds", a_plan(), a_config(max_rounds=ROUNDS - 1)),
        ("max-rank", a_plan(), a_config(max_rank=7)),
        ("allowed-models", a_plan(), a_config(models=("cd" * 32,))),
        ("allowed-tasks", a_plan(), a_config(tasks=("causal-lm",))),
        ("allowed-targets", a_plan(), a_config(targets=("query",))),
        ("mitigation", a_plan(mitigation=SWAPPING), a_config(mitigation=False)),
        ("max-copies", a_plan(mitigation=SWAPPING), a_config(max_copies=3)),
        # The columns are the site's, and this one has named none.
        ("group-column", a_plan(mitigation=WEIGHTED), None),
        ("allowed-targets", targeting("query", "key"), a_config(targets=("query", "value"))),
    ],
)
def test_each_rule_refuses_by_its_name(rule: str, plan: Plan, config: Site | None) -> None:
    assert refused(plan, config or a_config()).rule == rule


def test_mitigation_within_the_sites_columns_is_allowed_and_costs_nothing() -> None:
    site = a_config(epsilon=COST)
    source = site.config.source.model_copy(update={"group": "sex"})
    site = site._replace(config=site.config.model_copy(update={"source": source}))
    for mitigation in (SWAPPING, WEIGHTED):
        check(a_task(plan=a_plan(mitigation=mitigation)), site, NOTHING)


def test_a_round_after_the_last_is_refused() -> None:
    assert refused(a_plan(), a_config(), round_number=ROUNDS + 1).rule == "round"


def test_the_limits_themselves_are_allowed() -> None:
    just = a_config(epsilon=COST, delta=1e-5, min_units=UNITS)
    check(a_task(), just, NOTHING)


def test_a_plan_that_claims_a_smaller_epsilon_than_its_noise_gives_is_refused() -> None:
    loud = Mechanism(noise_multiplier=0.5, sample_rate=BATCH / UNITS, steps=STEPS * ROUNDS)
    truth = prv_epsilon([loud], 1e-5)
    plan = with_site(noise_multiplier=0.5, epsilon=0.01)
    error = refused(plan, a_config(epsilon=COST))
    assert error.rule == "epsilon-per-run"
    assert f"asked {truth:.4g}" in str(error)


def test_all_that_is_allowed_may_be_asked() -> None:
    site = a_config(
        epsilon=COST,
        epsilon_per_run=COST,
        min_noise_multiplier=1.0,
        max_rounds=ROUNDS,
        max_rank=8,
        models=("ab" * 32,),
        tasks=("classification",),
        targets=("query", "value"),
    )
    check(a_task(plan=targeting("value")), site, NOTHING)


def test_a_run_is_stopped_in_the_round_that_would_overspend() -> None:
    """Each round by itself: those before it are paid for, it and the ones after are not."""
    before, step = Mechanism(noise_multiplier=1.0, sample_rate=BATCH / UNITS, steps=10), STEPS
    costs = [
        prv_epsilon([replace(before, steps=10 + step * done)], 1e-5) for done in range(ROUNDS + 1)
    ]
    site = a_config(epsilon=(costs[2] + costs[3]) / 2)
    for number in (1, 2):
        spent = facts(replace(before, steps=10 + step * (number - 1)))
        check(a_task(round_number=number), site, spent)
    error = refused(a_plan(), site, facts(replace(before, steps=10 + step * 2)), round_number=3)
    assert error.rule == "epsilon"
    assert f"asked {costs[3]:.4g}" in str(error)


def test_what_was_charged_before_counts() -> None:
    first_round = Mechanism(noise_multiplier=1.0, sample_rate=BATCH / UNITS, steps=STEPS)
    both = prv_epsilon([RUN, first_round], 1e-5)
    assert both > COST
    assert refused(a_plan(), a_config(epsilon=(COST + both) / 2), facts(RUN)).rule == "epsilon"
    check(a_task(), a_config(epsilon=both), facts(RUN))


def test_rounds_add_up_over_plans() -> None:
    """Nearly free rounds without end would each tell a little that no epsilon covers."""
    site = a_config(max_rounds_in_all=7)
    check(a_task(), site, facts(rounds=6))
    assert refused(a_plan(), site, facts(rounds=7)).rule == "max-rounds-in-all"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 0.99])
def test_a_policy_that_was_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    """As while an editor writes it: no default may stand in for a stricter value."""
    path = tmp_path / "policy.toml"
    text = a_policy(epsilon=1.0, mode="manual").to_toml()
    path.write_text(text[: int(share * len(text))], encoding="utf-8")
    with pytest.raises(ConfigError):
        read_policy(path)


def test_a_first_round_from_another_start_than_the_plans_is_refused() -> None:
    plan = a_plan(start_sha256=a_task().adapter.sha256)
    check(a_task(plan=plan), a_config(), NOTHING)
    other = a_task(plan=plan, seed=1)
    with pytest.raises(SiteRefusal) as caught:
        check(other, a_config(), NOTHING)
    assert caught.value.rule == "start"
    check(a_task(plan=plan, seed=1, round_number=2), a_config(), NOTHING)


def test_head_rounds_are_charged_by_their_own_steps() -> None:
    """A plan that counts its long head rounds as short ones would take what it did not ask for."""
    training = a_training(head_rounds=1, head_local_steps=500)
    honest = 500 + STEPS * (ROUNDS - 1)

    def plan_of(steps: int) -> Plan:
        sites = (a_site("north", steps=steps), a_site("south", steps=steps))
        return a_plan(training=training, sites=sites)

    assert refused(plan_of(STEPS * ROUNDS), a_config()).rule == "steps"
    check(a_task(plan=plan_of(honest)), a_config(), NOTHING)
    assert refused(plan_of(honest), a_config(max_steps=honest - 1)).rule == "max-steps"
    rounds = [charge_of(a_task(plan=plan_of(honest), round_number=at)).steps for at in (1, 2, 3)]
    assert rounds == [500, STEPS, STEPS]


def test_a_refusal_tells_the_site_both_numbers() -> None:
    error = refused(a_plan(), a_config(min_units=UNITS + 1))
    assert str(error) == "refused by rule min-units: asked 1000, allowed 1001"


def test_the_institutions_defaults_are_strict() -> None:
    policy = Policy.usual()
    assert not policy.allow.seeded_noise
    assert not policy.allow.without_privacy
    assert policy.budget.delta <= 1e-5


def test_a_site_may_allow_what_its_defaults_refuse() -> None:
    seeded = a_plan(privacy=PrivacyTerms(noise_multiplier=1.0, noise_seed=0))
    check(a_task(plan=seeded), a_config(seeded_noise=True), NOTHING)
    check(a_task(plan=without_privacy()), a_config(without_privacy=True), NOTHING)


def test_without_privacy_the_unit_and_sizes_are_still_checked() -> None:
    config = a_config(without_privacy=True)
    assert refused(without_privacy(unit="author"), config).rule == "privacy-unit"


def test_a_sites_files_read_back(tmp_path: Path) -> None:
    site = a_config(epsilon=3.0, targets=("query",))
    relative = site.config.model_copy(update={"policy": Path("policy.toml")})
    (tmp_path / "site.toml").write_text(relative.to_toml(), encoding="utf-8")
    (tmp_path / "policy.toml").write_text(site.policy.to_toml(), encoding="utf-8")
    found = read_site_config(tmp_path / "site.toml")
    assert read_policy(found.policy) == site.policy
    # From wherever the process was started: another folder must not mean another ledger.
    assert found.state == tmp_path / "state" and found.source.path == tmp_path / "records.csv"
    assert found.service.address == f"unix:{tmp_path / 'trainer.sock'}"


@pytest.mark.parametrize("content", [b"= 1", b"\xff", b"name = 'north'\n"])
def test_a_wrong_site_file_is_a_config_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        read_site_config(path)


def test_a_misspelt_policy_is_refused_not_ignored(tmp_path: Path) -> None:
    write_settings(a_site_config(tmp_path), a_policy(epsilon=3.0))
    path = tmp_path / "policy.toml"
    path.write_text(path.read_text().replace("epsilon =", "epsilonn ="), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"budget.epsilonn: unknown key, did you mean epsilon"):
        read_policy(path)


def test_what_was_charged_for_another_unit_or_without_privacy_leaves_no_epsilon() -> None:
    """A history of records says nothing of persons, and training without noise ends every bound."""
    config = a_config(epsilon=100.0)
    other_unit = refused(a_plan(), config, facts(units=frozenset({"author"})))
    assert other_unit.rule == "privacy-unit-charged"
    assert refused(a_plan(), config, facts(plain=True)).rule == "spent-without-privacy"


def test_seeded_rounds_leave_no_epsilon_to_a_plan_that_means_it() -> None:
    """Who knows the seed takes the noise off again: on the same records nothing is left."""
    before = facts(RUN, seeded=True)
    config = a_config(epsilon=100.0, seeded_noise=True)
    assert refused(a_plan(), config, before).rule == "spent-without-privacy"
    seeded = a_plan(privacy=PrivacyTerms(noise_multiplier=1.0, noise_seed=0))
    check(a_task(plan=seeded), config, before)


def test_an_epsilon_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_known = {"prv": lambda history, delta: float("nan")}
    monkeypatch.setattr("fedloom.client.site.policy.asked.ACCOUNTANTS", nothing_known)
    assert refused(a_plan(), a_config(epsilon=1e9)).rule == "epsilon-per-run"


def test_a_plan_made_to_exhaust_the_accountant_is_refused_in_seconds() -> None:
    """With the tight accountant alone, this plan takes many gigabytes at the site."""
    steps = 5000 * 2
    plan = a_plan(
        training=a_training(local_steps=2),
        rounds=a_plan().rounds.model_copy(update={"total": steps // 2}),
        sites=(a_site(noise_multiplier=0.2, steps=steps), a_site("south")),
    )
    before = time.monotonic()
    site = a_config(min_noise_multiplier=0.2, max_rounds=steps, max_steps=steps)
    assert refused(plan, site).rule == "epsilon-per-run"
    assert time.monotonic() - before < 10
